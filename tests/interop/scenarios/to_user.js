// Sends an inbound call on to the user that was dialled.

VoxEngine.forwardCallToUser();
