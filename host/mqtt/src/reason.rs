//! Why: the reason codes of version 5, and what 3.1.1 says instead.
//!
//! 3.1.1 has words for refusing a connection and a filter, and none else:
//!
//! | refused | version 5 | 3.1.1 |
//! |---|---|---|
//! | CONNECT | CONNACK with the reason | CONNACK with [`Reason::connack_v3`]; if that is none, just close |
//! | PUBLISH | PUBACK or PUBREC with the reason, or DISCONNECT | close |
//! | a filter | SUBACK with the reason | SUBACK with 0x80. Azure's SDKs do not look at it: close where it matters |
//! | what is no subscription | UNSUBACK with 0x11 | UNSUBACK |
//! | the connection, later | DISCONNECT with the reason | close |

use std::fmt;

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $text:literal;)*) => {
        /// A reason code of MQTT 5 (2.4). Below 0x80 is success. `Display` writes the specification's
        /// name in lower case.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Reason {
            $($(#[$doc])* $name = $code,)*
        }

        impl Reason {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The reason with this code.
            pub const fn from_code(code: u8) -> Option<Self> {
                match code {
                    $($code => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// The name in the specification, in lower case.
            pub const fn text(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

reasons! {
    /// Also "normal disconnection" and "granted QoS 0".
    Success = 0x00, "success";
    /// SUBACK.
    GrantedQoS1 = 0x01, "granted QoS 1";
    /// SUBACK.
    GrantedQoS2 = 0x02, "granted QoS 2";
    /// DISCONNECT of a client: publish the will nevertheless.
    DisconnectWithWill = 0x04, "disconnect with will message";
    /// PUBACK, PUBREC.
    NoMatchingSubscribers = 0x10, "no matching subscribers";
    /// UNSUBACK.
    NoSubscriptionExisted = 0x11, "no subscription existed";
    /// AUTH.
    ContinueAuthentication = 0x18, "continue authentication";
    /// AUTH.
    ReAuthenticate = 0x19, "re-authenticate";
    /// Nothing else fits, or the peer shall not know.
    Unspecified = 0x80, "unspecified error";
    /// The bytes are no packet.
    MalformedPacket = 0x81, "malformed packet";
    /// A packet that may not come, or not with this.
    ProtocolError = 0x82, "protocol error";
    /// Valid, but not for this server.
    ImplementationSpecific = 0x83, "implementation specific error";
    /// CONNACK.
    UnsupportedProtocolVersion = 0x84, "unsupported protocol version";
    /// CONNACK.
    ClientIdentifierNotValid = 0x85, "client identifier not valid";
    /// CONNACK.
    BadUserNameOrPassword = 0x86, "bad user name or password";
    /// The identity may not do this.
    NotAuthorized = 0x87, "not authorized";
    /// CONNACK.
    ServerUnavailable = 0x88, "server unavailable";
    /// Too much to do.
    ServerBusy = 0x89, "server busy";
    /// CONNACK.
    Banned = 0x8a, "banned";
    /// DISCONNECT.
    ServerShuttingDown = 0x8b, "server shutting down";
    /// CONNACK, DISCONNECT.
    BadAuthenticationMethod = 0x8c, "bad authentication method";
    /// DISCONNECT: silent for one and a half times the keep-alive.
    KeepAliveTimeout = 0x8d, "keep alive timeout";
    /// DISCONNECT: another connection has the client id now.
    SessionTakenOver = 0x8e, "session taken over";
    /// A filter that is not accepted.
    TopicFilterInvalid = 0x8f, "topic filter invalid";
    /// A topic name that is not accepted.
    TopicNameInvalid = 0x90, "topic name invalid";
    /// The id is in use already.
    PacketIdentifierInUse = 0x91, "packet identifier in use";
    /// The id is not in use.
    PacketIdentifierNotFound = 0x92, "packet identifier not found";
    /// DISCONNECT: more unacknowledged than was said.
    ReceiveMaximumExceeded = 0x93, "receive maximum exceeded";
    /// DISCONNECT: over the maximum, or never set.
    TopicAliasInvalid = 0x94, "topic alias invalid";
    /// Larger than was said.
    PacketTooLarge = 0x95, "packet too large";
    /// DISCONNECT.
    MessageRateTooHigh = 0x96, "message rate too high";
    /// A limit of this server or its administrator.
    QuotaExceeded = 0x97, "quota exceeded";
    /// DISCONNECT.
    AdministrativeAction = 0x98, "administrative action";
    /// The body is not what the payload format says.
    PayloadFormatInvalid = 0x99, "payload format invalid";
    /// Retained messages are not to be had.
    RetainNotSupported = 0x9a, "retain not supported";
    /// This QoS is not to be had.
    QoSNotSupported = 0x9b, "QoS not supported";
    /// CONNACK, DISCONNECT: for now.
    UseAnotherServer = 0x9c, "use another server";
    /// CONNACK, DISCONNECT: for good.
    ServerMoved = 0x9d, "server moved";
    /// SUBACK, DISCONNECT.
    SharedSubscriptionsNotSupported = 0x9e, "shared subscriptions not supported";
    /// CONNACK, DISCONNECT.
    ConnectionRateExceeded = 0x9f, "connection rate exceeded";
    /// DISCONNECT.
    MaximumConnectTime = 0xa0, "maximum connect time";
    /// SUBACK, DISCONNECT.
    SubscriptionIdentifiersNotSupported = 0xa1, "subscription identifiers not supported";
    /// SUBACK, DISCONNECT.
    WildcardSubscriptionsNotSupported = 0xa2, "wildcard subscriptions not supported";
}

impl Reason {
    /// The byte on the wire.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// Whether something was refused.
    pub const fn is_error(self) -> bool {
        self.code() >= 0x80
    }

    /// The return code of a 3.1.1 CONNACK (3.2.2.3). `None`: that protocol has no word for it, and the
    /// connection is closed without one [MQTT-3.2.2-6].
    ///
    /// Everything that may pass is 3, "server unavailable": after 4 or 5 on a reconnect Azure's Python
    /// SDK never tries again (client contract, 6.1).
    pub const fn connack_v3(self) -> Option<u8> {
        match self {
            Self::Success => Some(0),
            Self::UnsupportedProtocolVersion => Some(1),
            Self::ClientIdentifierNotValid => Some(2),
            Self::ServerUnavailable
            | Self::ServerBusy
            | Self::ServerShuttingDown
            | Self::ConnectionRateExceeded
            | Self::QuotaExceeded
            | Self::UseAnotherServer
            | Self::ServerMoved
            | Self::Unspecified
            | Self::ImplementationSpecific => Some(3),
            Self::BadUserNameOrPassword | Self::BadAuthenticationMethod => Some(4),
            Self::NotAuthorized | Self::Banned => Some(5),
            _ => None,
        }
    }

    /// The return code of a 3.1.1 SUBACK (3.9.3): the granted QoS, or 0x80 for all that is refused.
    pub const fn suback_v3(self) -> u8 {
        match self {
            Self::Success | Self::GrantedQoS1 | Self::GrantedQoS2 => self.code(),
            _ => 0x80,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_names_one_reason() {
        for code in 0..=u8::MAX {
            let found: Vec<_> = Reason::ALL.iter().filter(|r| r.code() == code).collect();
            match Reason::from_code(code) {
                Some(reason) => assert_eq!(found, [&reason]),
                None => assert!(found.is_empty(), "{code:#x}"),
            }
        }
        assert_eq!(Reason::ALL.len(), 43);
    }

    #[test]
    fn what_may_pass_never_says_bad_credentials_to_3_1_1() {
        for reason in [
            Reason::ServerUnavailable,
            Reason::ServerBusy,
            Reason::ServerShuttingDown,
            Reason::ConnectionRateExceeded,
            Reason::QuotaExceeded,
            Reason::Unspecified,
        ] {
            assert_eq!(reason.connack_v3(), Some(3), "{reason}");
        }
        assert_eq!(Reason::NotAuthorized.connack_v3(), Some(5));
        assert_eq!(Reason::BadUserNameOrPassword.connack_v3(), Some(4));
        assert_eq!(Reason::MalformedPacket.connack_v3(), None);
    }

    #[test]
    fn a_refused_filter_is_0x80_in_3_1_1() {
        assert_eq!(Reason::GrantedQoS2.suback_v3(), 2);
        assert_eq!(Reason::NotAuthorized.suback_v3(), 0x80);
        assert_eq!(Reason::SharedSubscriptionsNotSupported.suback_v3(), 0x80);
    }
}
