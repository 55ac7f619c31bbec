//! What a parent says when it ends something, in its own words.
//!
//! The library prints such an error as it stands in memory, and hands no source on.

use std::error::Error;

use fe2o3_amqp::connection::{self, ConnectionStopReason};
use fe2o3_amqp::link::{
    DetachError, IllegalLinkStateError, LinkStateError, ReceiverAttachError, RecvError, SendError,
    SenderAttachError, SessionStopReason,
};
use fe2o3_amqp_types::definitions::{self, ErrorCondition};
use fe2o3_amqp_types::primitives::Symbol;

/// A fault in the parent's words, if it gave some: `amqp:unauthorized-access: it is disabled`; else the library's.
pub fn said(fault: &(dyn Error + 'static)) -> String {
    by_peer(fault).unwrap_or_else(|| fault.to_string())
}

/// An error of the protocol: `condition: description`.
pub fn error(error: &definitions::Error) -> String {
    let condition = match &error.condition {
        ErrorCondition::AmqpError(condition) => Symbol::from(condition),
        ErrorCondition::ConnectionError(condition) => Symbol::from(condition),
        ErrorCondition::SessionError(condition) => Symbol::from(condition),
        ErrorCondition::LinkError(condition) => Symbol::from(condition),
        ErrorCondition::Custom(condition) => condition.clone(),
    };
    match error.description.as_deref() {
        None | Some("") => condition.0,
        Some(description) => format!("{}: {description}", condition.0),
    }
}

fn by_peer(fault: &(dyn Error + 'static)) -> Option<String> {
    if let Some(RecvError::LinkStateError(fault)) = fault.downcast_ref() {
        return state(fault);
    }
    match fault.downcast_ref() {
        Some(SendError::LinkStateError(fault)) => return state(fault),
        Some(SendError::Detached(fault)) => return detached(fault),
        _ => {}
    }
    if let Some(fault) = fault.downcast_ref() {
        return detached(fault);
    }
    match fault.downcast_ref() {
        Some(SenderAttachError::RemoteClosedWithError(fault)) => return Some(error(fault)),
        Some(SenderAttachError::SessionStopped(reason)) => return Some(session(reason)),
        _ => {}
    }
    match fault.downcast_ref() {
        Some(ReceiverAttachError::RemoteClosedWithError(fault)) => return Some(error(fault)),
        Some(ReceiverAttachError::SessionStopped(reason)) => return Some(session(reason)),
        _ => {}
    }
    if let Some(IllegalLinkStateError::SessionStopped(reason)) = fault.downcast_ref() {
        return Some(session(reason));
    }
    if let Some(connection::Error::RemoteClosedWithError(fault)) = fault.downcast_ref() {
        return Some(error(fault));
    }
    None
}

fn state(fault: &LinkStateError) -> Option<String> {
    match fault {
        LinkStateError::RemoteDetachedWithError(fault)
        | LinkStateError::RemoteClosedWithError(fault) => Some(error(fault)),
        LinkStateError::SessionStopped(reason) => Some(session(reason)),
        LinkStateError::RemoteDetached | LinkStateError::RemoteClosed => {
            Some("the parent ended the link".to_owned())
        }
        LinkStateError::IllegalState | LinkStateError::ExpectImmediateDetach => {
            Some(fault.to_string())
        }
    }
}

fn detached(fault: &DetachError) -> Option<String> {
    match fault {
        DetachError::RemoteDetachedWithError(fault) | DetachError::RemoteClosedWithError(fault) => {
            Some(error(fault))
        }
        DetachError::SessionStopped(reason) => Some(session(reason)),
        _ => None,
    }
}

fn session(reason: &SessionStopReason) -> String {
    match reason {
        SessionStopReason::EndedWithError(fault)
        | SessionStopReason::RemoteEndedWithError(fault) => {
            format!("the session ended: {}", error(fault))
        }
        SessionStopReason::Ended | SessionStopReason::RemoteEnded => "the session ended".to_owned(),
        SessionStopReason::ConnectionStopped(
            ConnectionStopReason::ClosedWithError(fault)
            | ConnectionStopReason::RemoteClosedWithError(fault),
        ) => format!("the connection ended: {}", error(fault)),
        SessionStopReason::ConnectionStopped(
            ConnectionStopReason::Closed | ConnectionStopReason::RemoteClosed,
        ) => "the connection ended".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use fe2o3_amqp_types::definitions::AmqpError;

    use super::*;

    #[test]
    fn what_the_parent_says_is_passed_on_without_the_librarys_words() {
        let told = || {
            let why = "leaf is disabled".to_owned();
            definitions::Error::new(AmqpError::UnauthorizedAccess, why, None)
        };
        let closed = LinkStateError::RemoteClosedWithError;
        let stopped = SessionStopReason::RemoteEndedWithError(told());
        let lost = ConnectionStopReason::RemoteClosedWithError(told());
        let words = "amqp:unauthorized-access: leaf is disabled";
        for (said, expected) in [
            (said(&RecvError::LinkStateError(closed(told()))), words),
            (said(&SendError::LinkStateError(closed(told()))), words),
            (said(&DetachError::RemoteClosedWithError(told())), words),
            (
                said(&SenderAttachError::RemoteClosedWithError(told())),
                words,
            ),
            (
                said(&ReceiverAttachError::RemoteClosedWithError(told())),
                words,
            ),
            (
                said(&connection::Error::RemoteClosedWithError(told())),
                words,
            ),
            (
                said(&IllegalLinkStateError::SessionStopped(stopped)),
                "the session ended: amqp:unauthorized-access: leaf is disabled",
            ),
            (
                said(&DetachError::SessionStopped(
                    SessionStopReason::ConnectionStopped(lost),
                )),
                "the connection ended: amqp:unauthorized-access: leaf is disabled",
            ),
        ] {
            assert_eq!(said, expected);
        }
        let bare = definitions::Error::new(AmqpError::NotFound, None, None);
        assert_eq!(error(&bare), "amqp:not-found");
        // What is not the parent's is the library's.
        assert_eq!(said(&std::io::Error::other("cut")), "cut");
    }
}
