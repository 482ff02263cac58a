//! HTTP requests between the server's connections and `control`.

use std::task::Context;
use std::time::Instant;

use super::culprit::Culprit;
use super::http_server::Pending;
use super::reactor::{Reactor, SHARE};
use crate::control::{Outcome, Output, Response};
use crate::gateway::RequestId;
use crate::storage::store::{self, Operation};

impl Reactor {
    pub fn hear_requests(&mut self, cx: &mut Context<'_>) -> bool {
        for _ in 0..SHARE {
            let Some(pending) = self.inbox.requests.take(cx) else { return false };
            self.handle_request(pending);
        }
        true
    }

    fn handle_request(&mut self, pending: Pending) {
        let Pending { request, answer } = pending;
        let id = request.id;
        self.answers.insert(id, answer);
        let now = Instant::now();
        let (control, gateway) = (&mut self.control, &mut self.gateway);
        match Culprit::Control.guard(|| control.handle_request(now, gateway, request)) {
            Some(Outcome::Answer(response)) => self.answer(id, response),
            Some(Outcome::Wait) => {}
            None => self.answer(id, Response::empty(500)),
        }
        self.settle();
        self.settle_control();
    }

    /// What `control` wants of the disk and of the configuration.
    fn settle_control(&mut self) {
        while let Some(output) = self.control.poll_output() {
            match output {
                Output::Disk(operation) => self.query(*operation),
                Output::Reload { request } => self.reload(Some(request)),
            }
        }
    }

    fn query(&mut self, operation: Operation) {
        let Operation::History { query, filter } = operation else {
            // What has no room is counted by the disk's own queue.
            self.disk.send(operation);
            return;
        };
        if !self.disk.query(query, filter) {
            let result = Err("too many queries at one time".to_owned());
            self.answer_history(store::Answer::History { query, result });
        }
    }

    pub fn answer_history(&mut self, answer: store::Answer) {
        if let Some((request, response)) = self.control.on_history(&self.gateway, answer) {
            self.answer(request, response);
        }
    }

    /// Gives a response to the connection that waits for it.
    pub fn answer(&mut self, request: RequestId, response: Response) {
        if let Some(answer) = self.answers.remove(&request) {
            answer.send(response);
        }
    }
}
