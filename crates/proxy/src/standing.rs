//! Whether what a tunnel came in by is still in the configuration.

use std::time::Duration;

use crate::core::Core;
use crate::exchange::Exchange;
use crate::snapshot::{Face, Listener, Snapshot};

/// The listener and the route of something that outlives configurations.
#[derive(Debug)]
pub(crate) struct Standing<'a> {
    pub(crate) core: &'a Core,
    listener: &'a Listener,
    /// The name of the site, and the route.
    route: Option<(&'a str, &'a config::Route)>,
    generation: u64,
    gone: bool,
}

/// What a new configuration means for it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// Nothing.
    None,
    /// What it came in by is no longer there: it has this time left.
    Gone(Duration),
    /// It is there again.
    Back,
}

impl<'a> Standing<'a> {
    pub(crate) fn of(x: &Exchange<'a>) -> Self {
        let (core, listener) = (x.core, x.listener);
        let route = match &listener.face {
            Face::Reverse(face) => x.record.site.zip(x.record.route).and_then(|(site, route)| {
                let site = face.table.sites.get(site)?;
                Some((site.config.name.as_str(), &site.routes.routes.get(route)?.config))
            }),
            Face::Forward(_) | Face::Tunnel(_) => None,
        };
        Self { route, ..Self::at(core, listener) }
    }

    /// Of what came in there, and has no route.
    pub(crate) fn at(core: &'a Core, listener: &'a Listener) -> Self {
        Self { core, listener, route: None, generation: core.generation(), gone: false }
    }

    /// Looks at the configuration of now, if it is another one than the last time.
    pub(crate) fn news(&mut self) -> News {
        let generation = self.core.generation();
        if generation == self.generation {
            return News::None;
        }
        self.generation = generation;
        let view = self.core.view();
        let gone = !self.is_in(&view.snapshot);
        match std::mem::replace(&mut self.gone, gone) {
            false if gone => News::Gone(view.snapshot.config.drain_timeout),
            true if !gone => News::Back,
            _ => News::None,
        }
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.gone
    }

    fn is_in(&self, snapshot: &Snapshot) -> bool {
        let mut listeners = snapshot.listeners.iter();
        let Some(listener) = listeners.find(|listener| listener.continues(self.listener)) else {
            return false;
        };
        match (&listener.face, self.route) {
            (Face::Reverse(face), Some((name, route))) => {
                let mut sites = face.table.sites.iter();
                sites.any(|site| site.config.name == name && site.routes.like(route).is_some())
            }
            _ => true,
        }
    }
}
