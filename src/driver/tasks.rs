//! What takes its time beside the reactor's loop: sounds, HTTP requests of scripts, host names,
//! the configuration at a reload. Each is a task on the same thread; its end comes back as a
//! [`Done`].

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use smol::channel::Sender;
use smol::{LocalExecutor, Task};

use super::dns::Resolver;
use super::http_client::Client;
use super::sounds::Sounds;
use crate::config::{Config, Problem};
use crate::dns::{self, Answer, Question};
use crate::gateway::RequestId;
use crate::media::clip::Clip;
use crate::scenario::command::{HttpRequest, Sound};
use crate::scenario::event::HttpResult;
use crate::scenario::worker::SessionId;

/// A task came to its end.
pub enum Done {
    Loaded {
        request: u64,
        result: Result<Arc<Clip>, String>,
    },
    Fetched {
        session: SessionId,
        request: u32,
        result: HttpResult,
    },
    Resolved {
        query: u64,
        answer: Answer,
    },
    /// `request`: the HTTP request that waits to know.
    Reloaded {
        request: Option<RequestId>,
        result: Result<Box<Config>, Vec<Problem>>,
    },
}

/// The tasks under way.
pub struct Tasks {
    executor: Rc<LocalExecutor<'static>>,
    done: Sender<Done>,
    sounds: Rc<Sounds>,
    client: Client,
    resolver: Resolver,
    /// Sounds that somebody waits for: one for each call and player at most.
    loads: HashMap<u64, Task<()>>,
    /// A session's requests, to be dropped with it; `http_active` for each session at most.
    fetches: HashMap<SessionId, Vec<(u32, Task<()>)>>,
}

impl Tasks {
    pub fn new(
        executor: Rc<LocalExecutor<'static>>,
        done: Sender<Done>,
        sounds: Sounds,
        client: Client,
        resolver: Resolver,
    ) -> Self {
        Self {
            executor,
            done,
            sounds: Rc::new(sounds),
            client,
            resolver,
            loads: HashMap::new(),
            fetches: HashMap::new(),
        }
    }

    pub fn load(&mut self, request: u64, sound: Sound) {
        let (sounds, done) = (self.sounds.clone(), self.done.clone());
        let task = self.executor.spawn(async move {
            let result = sounds.load(sound).await;
            // The reactor holds a receiver as long as it runs.
            let _ = done.send(Done::Loaded { request, result }).await;
        });
        self.loads.insert(request, task);
    }

    /// The sound is here, or nobody waits for it any more: its place in the queues is free.
    pub fn cancel_load(&mut self, request: u64) {
        self.loads.remove(&request);
    }

    pub fn fetch(&mut self, session: SessionId, request: Box<HttpRequest>) {
        let (client, done) = (self.client.clone(), self.done.clone());
        let number = request.request;
        let task = self.executor.spawn(async move {
            let result = client.fetch(&request).await;
            // The reactor holds a receiver as long as it runs.
            let _ = done.send(Done::Fetched { session, request: number, result }).await;
        });
        self.fetches.entry(session).or_default().push((number, task));
    }

    /// The request came to its end.
    pub fn end_fetch(&mut self, session: SessionId, request: u32) {
        if let Some(own) = self.fetches.get_mut(&session) {
            own.retain(|(number, _)| *number != request);
            if own.is_empty() {
                self.fetches.remove(&session);
            }
        }
    }

    /// Drops the requests of a session with their connections.
    pub fn cancel_fetches(&mut self, session: SessionId) {
        self.fetches.remove(&session);
    }

    pub fn resolve(&self, query: u64, question: Question) {
        let resolver = self.resolver.clone();
        self.run(async move { Done::Resolved { query, answer: resolver.answer(question).await } });
    }

    /// How DNS servers are asked from now on.
    pub fn configure_dns(&self, settings: dns::Settings) {
        self.resolver.configure(settings);
    }

    /// Reads the configuration again, with what it names.
    pub fn reload(
        &self,
        request: Option<RequestId>,
        read: impl FnOnce() -> Result<Config, Vec<Problem>> + Send + 'static,
    ) {
        self.run(async move {
            Done::Reloaded { request, result: smol::unblock(read).await.map(Box::new) }
        });
    }

    fn run(&self, task: impl Future<Output = Done> + 'static) {
        let done = self.done.clone();
        let task = async move {
            // The reactor holds a receiver as long as it runs.
            let _ = done.send(task.await).await;
        };
        self.executor.spawn(task).detach();
    }
}
