//! What a peer is told when something of its is refused or ended: AMQP's conditions, and IoT Hub's own, which
//! decide whether SDKs try again (client contract, section 8.6).

use fe2o3_amqp_types::definitions::{AmqpError, ErrorCondition, LinkError};
use fe2o3_amqp_types::definitions::{ConnectionError, Error};
use fe2o3_amqp_types::primitives::Symbol;

/// Bytes of a description: it may hold what a client wrote.
const MOST_SAID: usize = 500;

/// Why something of a peer's ends. `Display` is the description that it is told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub(crate) struct Refusal {
    condition: ErrorCondition,
    why: String,
}

impl Refusal {
    fn new(condition: impl Into<ErrorCondition>, why: impl ToString) -> Self {
        let mut why = why.to_string();
        if why.len() > MOST_SAID {
            why.truncate(why.floor_char_boundary(MOST_SAID));
            why.push('…');
        }
        Self {
            condition: condition.into(),
            why,
        }
    }

    /// It may not do this; the same will not do later either.
    pub(crate) fn unauthorized(why: impl ToString) -> Self {
        Self::new(AmqpError::UnauthorizedAccess, why)
    }

    /// There is nothing at this address.
    pub(crate) fn not_found(why: impl ToString) -> Self {
        Self::new(AmqpError::NotFound, why)
    }

    /// Nothing is done with this.
    pub(crate) fn not_allowed(why: impl ToString) -> Self {
        Self::new(AmqpError::NotAllowed, why)
    }

    /// There are too many already.
    pub(crate) fn too_many(why: impl ToString) -> Self {
        Self::new(AmqpError::ResourceLimitExceeded, why)
    }

    /// It cannot be done now.
    pub(crate) fn internal(why: impl ToString) -> Self {
        Self::new(AmqpError::InternalError, why)
    }

    /// A message is too large.
    pub(crate) fn too_large(why: impl ToString) -> Self {
        Self::new(LinkError::MessageSizeExceeded, why)
    }

    /// A message or request says something that cannot be.
    pub(crate) fn bad_argument(why: impl ToString) -> Self {
        let condition = Symbol::from("com.microsoft:argument-error");
        Self::new(ErrorCondition::Custom(condition), why)
    }

    /// Somebody else has its place now.
    pub(crate) fn taken_over(why: impl ToString) -> Self {
        Self::new(LinkError::Stolen, why)
    }

    /// A link of its ends, and it may attach it again.
    pub(crate) fn detached(why: impl ToString) -> Self {
        Self::new(LinkError::DetachForced, why)
    }

    /// Its connection ends, and it may connect again.
    pub(crate) fn closed(why: impl ToString) -> Self {
        Self::new(ConnectionError::ConnectionForced, why)
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Error::new(refusal.condition, refusal.why, None)
    }
}
