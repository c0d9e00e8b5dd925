//! A place to listen at, through all generations of the configuration.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::core::View;
use crate::snapshot::Listener;

/// A listener on one core, whatever the configuration makes of it: what connections keep
/// instead of the listener itself, so that their next request is served as the configuration of
/// that moment says, and that an idle one keeps no old configuration alive.
#[derive(Debug)]
pub struct ListenerSlot {
    state: RefCell<State>,
    cut: Cell<bool>,
}

#[derive(Debug)]
enum State {
    /// Index into the listeners of the configuration of now.
    Here(usize),
    /// The configuration has none like it any more; this is what it was.
    Gone(Serving),
}

/// A configuration, and the listener of it that a request came to. An exchange keeps the one it
/// began with.
#[derive(Debug, Clone)]
pub(crate) struct Serving {
    pub(crate) view: Rc<View>,
    index: usize,
}

impl Serving {
    pub(crate) fn listener(&self) -> &Listener {
        &self.view.snapshot.listeners[self.index]
    }
}

impl ListenerSlot {
    pub(crate) fn new(index: usize) -> Rc<Self> {
        Rc::new(Self { state: RefCell::new(State::Here(index)), cut: Cell::new(false) })
    }

    /// What serves it, where `view` is the configuration of now.
    pub(crate) fn serving(&self, view: &Rc<View>) -> Serving {
        match &*self.state.borrow() {
            State::Here(index) => Serving { view: Rc::clone(view), index: *index },
            State::Gone(last) => last.clone(),
        }
    }

    /// It is this one of the listeners of now.
    pub(crate) fn moved_to(&self, index: usize) {
        self.state.replace(State::Here(index));
    }

    /// The next configuration has no such listener.
    pub(crate) fn gone(&self, old: &Rc<View>) {
        let last = self.serving(old);
        self.state.replace(State::Gone(last));
    }

    /// Whether its connections are to end as soon as what runs on them has ended.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        matches!(*self.state.borrow(), State::Gone(_))
    }

    /// Ends what still runs, the next time that it is woken.
    pub fn cut(&self) {
        self.cut.set(true);
    }

    pub(crate) fn is_cut(&self) -> bool {
        self.cut.get()
    }
}
