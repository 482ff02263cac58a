// Answers each request to its access URL with how many there were, for the minute that a session
// without calls lives.

let count = 0;
VoxEngine.addEventListener(AppEvents.HttpRequest, () => ({ count: ++count }));
