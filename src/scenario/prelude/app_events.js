// AppEvents (section 3 of the reference).
(function (host, shared) {
  shared.define('AppEvents', Object.freeze({
    Started: 'Application.Started',
    CallAlerting: 'Application.CallAlerting',
    HttpRequest: 'Application.HttpRequest',
    WebSocket: 'AppEvents.NewWebSocketConnection',
    NewWebSocketFailed: 'Application.OnNewWebSocketFailed',
    Terminating: 'Application.Terminating',
    Terminated: 'Application.Terminated',
  }));
})
