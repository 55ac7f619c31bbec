//! What comes to a connection from the hub: calls of methods, and changes of desired properties.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use edge_hub::{MethodCall, MethodError, MethodTarget, TwinListener};
use edge_store::Lsn;

use crate::Bell;

/// What may wait for the connection; calls beyond it fail, and changes become one.
const MOST: usize = 256;

/// Something for the connection to do.
#[derive(Debug)]
pub enum Control {
    /// A method is called.
    Call(MethodCall),
    /// Desired properties changed.
    Desired {
        /// What changed, as a JSON object; `null` removes.
        patch: String,
        /// The version that it makes.
        version: u64,
        /// The commit that it is in.
        lsn: Option<Lsn>,
    },
    /// Too many changes came: send all desired properties as one.
    Resend,
}

/// The hub's end of a connection: registered as [`MethodTarget`] and [`TwinListener`].
pub struct Controls {
    waiting: Mutex<Vec<Control>>,
    bell: Arc<Bell>,
}

impl Controls {
    /// Rings this bell when something came.
    pub fn new(bell: Arc<Bell>) -> Arc<Self> {
        Arc::new(Self {
            waiting: Mutex::default(),
            bell,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Control>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What came since the last time, in order.
    pub fn take(&self) -> Vec<Control> {
        std::mem::take(&mut *self.lock())
    }

    /// Dropping a call answers it: its target is gone.
    pub fn close(&self) {
        let _dropped_without_the_lock = self.take();
    }
}

/// What waits may hold what a module called secret.
impl fmt::Debug for Controls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Controls").finish_non_exhaustive()
    }
}

impl MethodTarget for Controls {
    fn call(&self, call: MethodCall) {
        let mut waiting = self.lock();
        if waiting.len() >= MOST {
            drop(waiting);
            let why = "too many calls wait for the client".to_owned();
            call.answer(Err(MethodError::Failed(why)));
            return;
        }
        waiting.push(Control::Call(call));
        drop(waiting);
        self.bell.ring();
    }
}

impl TwinListener for Controls {
    fn desired_changed(&self, patch: String, version: u64, lsn: Option<Lsn>) {
        let mut waiting = self.lock();
        if waiting.len() >= MOST {
            waiting.retain(|control| matches!(control, Control::Call(_)));
            waiting.push(Control::Resend);
        } else {
            waiting.push(Control::Desired {
                patch,
                version,
                lsn,
            });
        }
        drop(waiting);
        self.bell.ring();
    }
}
