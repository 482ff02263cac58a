// Sends an inbound call on to the trunk that the dialled number leads to.

VoxEngine.forwardCallToPSTN();
