//! Feeding the gateway, and carrying out what it wants.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Instant;

use super::culprit::Culprit;
use super::media::MediaHandle;
use super::reactor::Reactor;
use super::udp::Sent;
use super::wire;
use crate::gateway::{Input, Output};
use crate::media::engine::{self, UnitId};
use crate::scenario::worker::{self, SessionId};
use crate::sip::user_agent as sip;
use crate::stats;

/// What an output led to that the gateway must hear after its other outputs.
#[derive(Debug)]
pub enum Undone {
    /// The worker cannot take more for this session, or a bug of ours met it.
    Lost {
        session: SessionId,
        error: &'static str,
    },
    /// The media thread cannot take more units.
    NoUnit {
        thread: usize,
        unit: UnitId,
    },
    Unreachable(SocketAddr),
    Closed(sip::StreamId),
}

/// The way to a media thread.
pub struct MediaPort {
    handle: MediaHandle,
    /// Commands in order that found the queue full. Beyond [`BACKLOG`] no new unit is opened and
    /// only ends of those that stand are still taken, counted as `media_queue_full_total`.
    backlog: VecDeque<engine::Command>,
}

impl Reactor {
    /// One input, and all that follows from it.
    pub fn feed(&mut self, input: Input<'_>) {
        self.offer(input);
        self.settle();
    }

    /// Carries out outputs until the gateway wants nothing more.
    pub fn settle(&mut self) {
        loop {
            while let Some(output) = self.gateway.poll_output() {
                self.carry_out(output);
            }
            match self.undone.pop_front() {
                Some(undone) => self.tell(undone),
                None => return,
            }
        }
    }

    /// A bug of ours costs the session whose input met it, and nobody else.
    fn offer(&mut self, input: Input<'_>) {
        let culprit = Culprit::of(&input);
        let is_end = matches!(input, Input::Script { output: worker::Output::Failed { .. }, .. });
        let now = Instant::now();
        let gateway = &mut self.gateway;
        let survived = culprit.guard(|| gateway.handle_input(now, input));
        if survived.is_none()
            && let Culprit::Session(session) = culprit
        {
            match is_end {
                false => self.undone.push_back(Undone::Lost { session, error: "internal error" }),
                // Not even its end comes about: telling it again would go on for ever.
                true => self.gateway.abandon(session),
            }
        }
    }

    fn tell(&mut self, undone: Undone) {
        match undone {
            Undone::Lost { session, error } => {
                // It lives in one of them; the others do not know it.
                for worker in &self.workers {
                    worker.send(worker::Input::Drop { session });
                }
                let output = worker::Output::Failed { session, error: error.to_owned() };
                self.offer(Input::Script { thread: 0, output });
            }
            Undone::NoUnit { thread, unit } => {
                let event = engine::Event::OpenFailed { unit };
                self.offer(Input::Media { thread, event });
            }
            Undone::Unreachable(to) => self.offer(Input::Sip(sip::Input::Unreachable { to })),
            Undone::Closed(stream) => self.offer(Input::Sip(sip::Input::Closed { stream })),
        }
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Sip(output) => self.carry_out_sip(output),
            Output::Script { thread, input } => self.send_to_worker(thread, input),
            Output::Media { thread, command } => self.send_to_media(thread, command),
            Output::Load { request, sound } => self.tasks.load(request, sound),
            Output::CancelLoad { request } => self.tasks.cancel_load(request),
            Output::Fetch { session, request } => self.tasks.fetch(session, request),
            Output::CancelFetches { session } => self.tasks.cancel_fetches(session),
            // What has no room is counted, and told to whoever waits for it, by the disk's own
            // queue.
            Output::Disk(operation) => _ = self.disk.send(operation),
            Output::Reply(reply) => {
                if let Some((request, response)) = self.control.on_reply(reply) {
                    self.answer(request, response);
                }
            }
        }
    }

    fn carry_out_sip(&mut self, output: sip::Output) {
        match output {
            sip::Output::Datagram { listener, to, data } => self.send_packet(listener, to, &data),
            sip::Output::Stream { stream, data } => {
                wire::log_sent(format_args!("stream={}", stream.0), &data);
                if !self.streams.write(stream, data) {
                    self.undone.push_back(Undone::Closed(stream));
                }
            }
            sip::Output::Connect { stream, transport, to, name } => {
                self.streams.connect(stream, transport, to, name);
            }
            sip::Output::Close { stream } => self.streams.close(stream),
            sip::Output::Resolve { query, question } => self.tasks.resolve(query, question),
            // The gateway keeps these to itself.
            sip::Output::Event(_) => {}
        }
    }

    fn send_packet(&mut self, listener: usize, to: SocketAddr, data: &[u8]) {
        let Some(Some(socket)) = self.udp.get(listener) else { return };
        wire::log_sent(to, data);
        match socket.send(to, data) {
            Sent::Out => {}
            Sent::Dropped => stats::SIP_SEND_DROPPED.add(1),
            Sent::Unreachable => {
                stats::SIP_UNREACHABLE.add(1);
                self.undone.push_back(Undone::Unreachable(to));
            }
        }
    }
}

impl Reactor {
    fn send_to_worker(&mut self, thread: usize, input: worker::Input) {
        let Some(worker) = self.workers.get(thread) else { return };
        let session = match &input {
            worker::Input::Start { session, .. }
            | worker::Input::Event { session, .. }
            | worker::Input::Drop { session } => *session,
            worker::Input::Timeout => return,
        };
        if worker.send(input) {
            return;
        }
        stats::SCRIPT_QUEUE_FULL.add(1);
        let error = "the script does not keep up with its events";
        self.undone.push_back(Undone::Lost { session, error });
    }

    fn send_to_media(&mut self, thread: usize, command: engine::Command) {
        let Some(port) = self.media.get_mut(thread) else { return };
        if port.backlog.len() < BACKLOG {
            return port.send(command);
        }
        match command {
            engine::Command::Open { unit, .. }
            | engine::Command::Move { unit, .. }
            | engine::Command::Play { unit, .. }
            | engine::Command::Record { unit, .. }
            | engine::Command::RecordCall { unit, .. } => {
                stats::MEDIA_QUEUE_FULL.add(1);
                self.undone.push_back(Undone::NoUnit { thread, unit });
            }
            // One for each unit that stands.
            command @ engine::Command::Close { .. } => port.send(command),
            _ => stats::MEDIA_QUEUE_FULL.add(1),
        }
    }

    /// What waited for room in a queue, at every turn.
    pub fn catch_up(&mut self) {
        for port in &mut self.media {
            port.catch_up();
        }
    }
}

impl MediaPort {
    pub fn new(handle: MediaHandle) -> Self {
        Self { handle, backlog: VecDeque::new() }
    }

    fn send(&mut self, command: engine::Command) {
        self.backlog.push_back(command);
        self.catch_up();
    }

    fn catch_up(&mut self) {
        while let Some(command) = self.backlog.front() {
            if !self.handle.send(command.clone()) {
                return;
            }
            self.backlog.pop_front();
        }
    }
}

/// Commands kept back for a media thread that does not get to run.
const BACKLOG: usize = 4096;
