//! One question, asked of one server after the other until one of them answers.
//!
//! ```text
//!        +--> asked over UDP --truncated, recased--> asked over TCP --+
//!        |        |  silence, refusal, no way            |            |
//!        +--------+--------------------------------------+            |
//!        next server, as often as `attempts` says                     v
//!                                                                   Done
//! ```
//!
//! Each query has an id, a port (the driver's part) and letters of its own; an answer that does
//! not fit the last query in all of them is dropped, and the waiting goes on (RFC 5452 §9).

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::message::{Form, MAX_ALIASES, Query, Reading};
use super::{Answer, Question, Settings};
use crate::random::Random;
use crate::stats;

/// The asking of one question.
#[derive(Debug)]
pub struct Exchange {
    /// Of the last alias, if there was one.
    question: Question,
    /// Best first.
    servers: Vec<SocketAddr>,
    patience: Duration,
    attempts: usize,
    /// Counts the servers through, round after round.
    turn: usize,
    /// A server did not understand the rich form.
    is_plain: bool,
    aliases: usize,
    /// The least of the aliases so far.
    ttl: Option<Duration>,
    asked: Option<Asked>,
    queries: usize,
    /// Those that said nothing in time.
    silent: Vec<SocketAddr>,
    outputs: VecDeque<Output>,
    random: Random,
}

#[derive(Debug)]
struct Asked {
    server: SocketAddr,
    over: Over,
    query: Query,
    until: Instant,
}

/// How a query travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// From a port that nobody can guess, which only the server's own messages reach.
    Udp,
    /// With two bytes of length before it (RFC 1035 §4.2.2).
    Tcp,
}

/// What the world tells the machine.
#[derive(Debug)]
pub enum Input<'a> {
    /// A message from where the last query went.
    Message { from: SocketAddr, over: Over, data: &'a [u8] },
    /// The last query could not be sent, or its connection broke.
    Unreachable,
    /// `poll_timeout` has come.
    Timeout,
}

/// What the machine wants done.
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    /// Ask this server; what was asked before is of no more interest.
    Ask {
        server: SocketAddr,
        over: Over,
        data: Vec<u8>,
    },
    Done(Answer),
}

impl Exchange {
    pub fn new(
        now: Instant,
        question: Question,
        servers: Vec<SocketAddr>,
        settings: &Settings,
        random: Random,
    ) -> Self {
        let mut exchange = Self {
            question,
            servers,
            patience: settings.patience,
            attempts: usize::try_from(settings.attempts).unwrap_or(1),
            turn: 0,
            is_plain: false,
            aliases: 0,
            ttl: None,
            asked: None,
            queries: 0,
            silent: Vec::new(),
            outputs: VecDeque::new(),
            random,
        };
        exchange.ask(now, Over::Udp);
        exchange
    }

    pub fn handle_input(&mut self, now: Instant, input: Input<'_>) {
        let Some(asked) = &self.asked else { return };
        match input {
            Input::Message { from, over, data } if from == asked.server && over == asked.over => {
                let reading = asked.query.read(&self.question, data);
                self.take(now, over, reading);
            }
            Input::Message { .. } => stats::DNS_FOREIGN.add(1),
            Input::Unreachable => self.ask_next(now),
            Input::Timeout if asked.until <= now => {
                stats::DNS_TIMEOUTS.add(1);
                log::debug!("{} does not answer {}", asked.server, self.question);
                self.silent.push(asked.server);
                self.ask_next(now);
            }
            Input::Timeout => {}
        }
    }

    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        self.asked.as_ref().map(|asked| asked.until)
    }

    /// Servers that did not answer in time.
    pub fn silent(&self) -> &[SocketAddr] {
        &self.silent
    }

    /// Ends without an answer: a bug of ours was met.
    pub fn give_up(&mut self) {
        self.outputs.clear();
        self.finish(Answer::Failed);
    }

    fn take(&mut self, now: Instant, over: Over, reading: Reading) {
        match (reading, over) {
            // Somebody else's, or a late one: ours may yet come.
            (Reading::Foreign, Over::Udp) => stats::DNS_FOREIGN.add(1),
            (Reading::Recased | Reading::Truncated, Over::Udp) => self.ask(now, Over::Tcp),
            (Reading::Foreign | Reading::Recased | Reading::Truncated | Reading::Refused, _) => {
                stats::DNS_REFUSED.add(1);
                self.is_plain = true;
                self.ask_next(now);
            }
            (Reading::Alias { name, ttl }, _) => {
                self.aliases += 1;
                if self.aliases > MAX_ALIASES {
                    return self.finish(Answer::Failed);
                }
                self.ttl = Some(self.ttl.unwrap_or(ttl).min(ttl));
                self.question = Question::new(&name, self.question.kind);
                self.ask(now, Over::Udp);
            }
            (Reading::Answer(answer), _) => self.finish(answer),
        }
    }

    /// The next server; the first again in the next round, and then in the plainest form.
    fn ask_next(&mut self, now: Instant) {
        self.turn += 1;
        self.is_plain |= self.turn >= self.servers.len();
        self.ask(now, Over::Udp);
    }

    fn ask(&mut self, now: Instant, over: Over) {
        self.asked = None;
        let turns = self.servers.len().saturating_mul(self.attempts);
        let place = self.turn.checked_rem(self.servers.len()).unwrap_or_default();
        let form = if self.is_plain { Form::Plain } else { Form::Rich };
        let server = self.servers.get(place).copied();
        let query = Query::new(&self.question, form, &mut self.random);
        let (Some(server), Some(query)) = (server, query) else {
            return self.finish(Answer::Failed);
        };
        if self.turn >= turns || self.queries >= MAX_QUERIES {
            return self.finish(Answer::Failed);
        }
        self.queries += 1;
        stats::DNS_QUERIES.add(1);
        self.outputs.push_back(Output::Ask { server, over, data: query.bytes.clone() });
        self.asked = Some(Asked { server, over, query, until: now + self.patience });
    }

    fn finish(&mut self, mut answer: Answer) {
        self.asked = None;
        match &mut answer {
            Answer::Records { ttl, .. } | Answer::Nothing { ttl } => {
                *ttl = (*ttl).min(self.ttl.unwrap_or(*ttl));
            }
            Answer::Failed => stats::DNS_FAILED.add(1),
        }
        self.outputs.push_back(Output::Done(answer));
    }
}

/// For one question, with aliases, repetitions and TCP.
const MAX_QUERIES: usize = 32;
