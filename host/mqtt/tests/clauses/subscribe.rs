//! 3.8 to 3.11, 4.7 and 4.8: subscriptions.

use edge_mqtt::packet::Version;

use crate::script::{Case, On, Stage, case};
use crate::world::Site;

pub const CASES: &[Case] = &[
    case(
        "3.8.3-3 4.8.0-1",
        "3.8.3-2 4.13.1-1",
        On::Both,
        "SUBSCRIBE without a filter ends the connection",
        "a joins
         a > 82 { 0001 % }
         a refused 82",
    ),
    case(
        "3.10.3-2 4.8.0-1",
        "3.10.3-2 4.13.1-1",
        On::Both,
        "UNSUBSCRIBE without a filter ends the connection",
        "a joins
         a > a2 { 0001 % }
         a refused 82",
    ),
    case(
        "3.8.3-4",
        "3.8.3-5",
        On::Both,
        "reserved bits beside the QoS end the connection",
        "a joins
         a > 82 { 0001 % \"{F}\" 40 }
         a refused 81
         a joins
         a > 82 { 0001 % \"{F}\" 80 }
         a refused 81",
    ),
    case(
        "3.8.3-4",
        "",
        On::Both,
        "3.1.1 has no options but the QoS",
        "a joins
         a > 82 { 0001 \"{F}\" 04 }
         a closed
         a joins
         a > 82 { 0001 \"{F}\" 10 }
         a closed",
    ),
    case(
        "3.8.3-4",
        "3.8.3.1 4.13.1-1",
        On::Both,
        "a subscription of QoS 3 ends the connection",
        "a joins
         a > 82 { 0001 % \"{F}\" 03 }
         a refused 81|82",
    ),
    case(
        "4.7.3-1",
        "4.7.3-1",
        On::Both,
        "an empty filter ends the connection",
        "a joins
         a > 82 { 0001 % \"\" 00 }
         a refused 81|82|8f",
    ),
    case(
        "4.7.1-2 4.7.1-3",
        "4.7.1-1 4.7.1-2",
        On::Both,
        "wildcards that are no whole level, or # that is not the last, end the connection",
        "a joins
         a > 82 { 0001 % \"t/#/x\" 00 }
         a refused 81|82|8f
         a joins
         a > 82 { 0001 % \"t#\" 00 }
         a refused 81|82|8f
         a joins
         a > 82 { 0001 % \"t+\" 00 }
         a refused 81|82|8f
         a joins
         a > 82 { 0001 % \"t/+x/y\" 00 }
         a refused 81|82|8f",
    ),
    case(
        "3.8.4-1 3.8.4-2 3.8.4-4 3.8.4-5 3.9.3-1 3.9.3-2",
        "3.8.4-1 3.8.4-2 3.8.4-5 3.8.4-6 3.8.4-7 3.9.3-1 3.9.3-2",
        On::Open,
        "each filter of a SUBSCRIBE is answered in its place; what is not allowed does not keep others",
        "a joins
         a > 82 { 1234 % \"a\" 01 \"$closed/#\" 01 \"b\" 00 \"c\" 02 }
         a < 90 { 1234 % 01 ^( 80 ) %( 87 ) 00 01 }
         a > 32 { \"a\" 0001 % 'x' } // 32 { \"b\" 0002 % 'y' } // 32 { \"c\" 0003 % 'z' }
         a <* 40 { 0001 } // 40 { 0002 } // 40 { 0003 } // 32 { \"a\" =a % 'x' } // 30 { \"b\" % 'y' } // 32 { \"c\" =c % 'z' }",
    ),
    case(
        "3.8.4-1 3.8.4-5 3.8.4-6 3.9.3-1 3.9.3-2",
        "3.8.4-1 3.8.4-6 3.8.4-7 3.9.3-1 3.9.3-2",
        On::Sdk,
        "filters that are none of Azure's are refused in their place",
        "a joins
         a > 82 { 1234 % \"t/1\" 01 \"{F}\" 01 \"#\" 00 }
         a < 90 { 1234 % ^( 80 ) %( 8f ) 01 ^( 80 ) %( 8f ) }",
    ),
    case(
        "3.8.4-3",
        "3.8.4-3",
        On::Open,
        "a filter that was there is subscribed to anew, not twice",
        "a joins
         a > 82 { 0001 % \"t\" 01 }
         a < 90 { 0001 % 01 }
         a > 82 { 0002 % \"t\" 00 }
         a < 90 { 0002 % 00 }
         a > 32 { \"t\" 0001 % 'x' }
         a <* 40 { 0001 } // 30 { \"t\" % 'x' }
         a quiet
         a > a2 { 0003 % \"t\" }
         a < b0 { 0003 %( 00 00 ) }
         a > 32 { \"t\" 0002 % 'y' }
         a < 40 { 0002 }
         a quiet",
    ),
    case(
        "3.8.4-6 4.3.1-1",
        "3.8.4-8 4.3.1-1",
        On::Open,
        "messages come with the lower of the QoS that they have and the one that was granted",
        "a joins
         a > 82 { 0001 % \"zero\" 00 \"one\" 01 \"two\" 02 }
         a < 90 { 0001 % 00 01 01 }
         a > 30 { \"one\" % '1' } // 32 { \"zero\" 0001 % '2' } // 32 { \"one\" 0002 % '3' } // 34 { \"two\" 0003 % '4' } // 34 { \"zero\" 0004 % '5' }
         a <* 40 { 0001 } // 40 { 0002 } // 50 { 0003 } // 50 { 0004 } // 30 { \"one\" % '1' } // 30 { \"zero\" % '2' } // 32 { \"one\" =a % '3' } // 32 { \"two\" =b % '4' } // 30 { \"zero\" % '5' }",
    ),
    case(
        "",
        "3.8.3-3",
        On::Open,
        "whoever does not want its own messages does not get them, and others do",
        "b joins
         b > 82 { 0001 00 \"t\" 00 }
         b < 90 { 0001 00 00 }
         a joins
         a > 82 { 0001 00 \"t\" 04 }
         a < 90 { 0001 00 00 }
         a > 30 { \"t\" 00 'x' }
         b < 30 { \"t\" 00 'x' }
         a quiet
         b > 30 { \"t\" 00 'y' }
         a < 30 { \"t\" 00 'y' }
         b < 30 { \"t\" 00 'y' }",
    ),
    case(
        "",
        "3.8.3-4",
        On::Both,
        "no local with a shared subscription ends the connection",
        "a joins
         a > 82 { 0001 00 \"$share/g/t\" 04 }
         a refused 82",
    ),
    case(
        "",
        "4.8.2-1 4.8.2-2",
        On::Open,
        "shared subscriptions are not to be had, which is said; broken ones end the connection",
        "a > 10 { \"MQTT\" 05 02 0000 00 \"a\" }
         a < 20 { 00 00 < 2a 00 > }
         a > 82 { 0001 00 \"$share/g/t\" 00 }
         a < 90 { 0001 00 9e }
         a > 82 { 0002 00 \"$share/g\" 00 }
         a refused 81|82|8f
         a joins
         a > 82 { 0002 00 \"$share//t\" 00 }
         a refused 81|82|8f
         a joins
         a > 82 { 0002 00 \"$share/+/t\" 00 }
         a refused 81|82|8f",
    ),
    case(
        "",
        "3.8.2.1.2 4.13.1-1",
        On::Open,
        "the subscription identifier 0 ends the connection",
        "a joins
         a > 82 { 0001 { 0b 00 } \"t\" 00 }
         a refused 82",
    ),
    case(
        "3.10.4-1 3.10.4-2 3.10.4-4 3.10.4-5 3.10.4-6",
        "3.10.4-1 3.10.4-2 3.10.4-4 3.10.4-5 3.10.4-6 3.11.3-1 3.11.3-2",
        On::Open,
        "filters are unsubscribed from letter by letter, each by itself, and answered whether they were there",
        "a joins
         a > 82 { 0001 % \"t/+\" 00 \"t/1\" 00 \"u\" 00 }
         a < 90 { 0001 % 00 00 00 }
         a > a2 { 4321 % \"t/#\" \"t/+\" \"T/1\" \"u\" \"u\" }
         a < b0 { 4321 %( 00 11 00 11 00 11 ) }
         a > 30 { \"t/2\" % 'x' } // 30 { \"u\" % 'y' } // 30 { \"t/1\" % 'z' }
         a < 30 { \"t/1\" % 'z' }
         a quiet",
    ),
    case(
        "3.10.4-3",
        "3.10.4-3",
        On::Open,
        "what was sent before an UNSUBSCRIBE comes again after a reconnect if it was not acknowledged",
        "a joins kept
         a > 82 { 0001 % \"t\" 01 }
         a < 90 { 0001 % 01 }
         a > 32 { \"t\" 0001 % 'x' }
         a <* 40 { 0001 } // 32 { \"t\" =p % 'x' }
         a > a2 { 0002 % \"t\" }
         a < b0 { 0002 %( 00 00 ) }
         a drops
         a rejoins
         a < 3a { \"t\" =p % 'x' }
         a > 40 { =p }
         a quiet",
    ),
    case(
        "4.7.3-3",
        "4.7.3-3",
        On::Open,
        "topic names may have 65535 bytes",
        "a joins
         a > 82 { 0001 % [ 61*65535 ] 00 }
         a < 90 { 0001 % 00 }
         a > 30 { [ 61*65534 ] % 'no' } // 30 { [ 61*65535 ] % 'yes' }
         a < 30 { [ 61*65535 ] % 'yes' }",
    ),
    case(
        "3.8.4-4 3.8.4-3",
        "3.8.4-5 3.8.4-3",
        On::Open,
        "a filter that comes twice in a SUBSCRIBE is subscribed to as it comes last",
        "a joins
         a > 82 { 0001 % \"t\" 00 \"t\" 01 }
         a < 90 { 0001 % 00 01 }
         a > 32 { \"t\" 0001 % 'x' }
         a <* 40 { 0001 } // 32 { \"t\" =p % 'x' }
         a quiet",
    ),
    case(
        "",
        "3.8.2.1 3.10.2.1",
        On::Both,
        "SUBSCRIBE and UNSUBSCRIBE may have user properties",
        "a joins
         a > 82 { 0001 { 26 \"a\" \"b\" 26 \"a\" \"b\" } \"{F}\" 00 }
         a < 90 { 0001 00 00 }
         a > a2 { 0002 { 26 \"a\" \"b\" } \"{F}\" }
         a < b0 { 0002 00 00 }",
    ),
];

/// Filters, topics, and whether they match: the examples of 4.7, and what is near them.
const MATCHES: &[(&str, &str, bool)] = &[
    ("sport/tennis/player1/#", "sport/tennis/player1", true),
    (
        "sport/tennis/player1/#",
        "sport/tennis/player1/ranking",
        true,
    ),
    (
        "sport/tennis/player1/#",
        "sport/tennis/player1/score/wimbledon",
        true,
    ),
    ("sport/tennis/player1/#", "sport/tennis/player2", false),
    ("sport/#", "sport", true),
    ("sport/#", "sports", false),
    ("#", "a", true),
    ("#", "/", true),
    ("#", "a/b/c", true),
    ("sport/tennis/+", "sport/tennis/player1", true),
    ("sport/tennis/+", "sport/tennis/player1/ranking", false),
    ("sport/+", "sport", false),
    ("sport/+", "sport/", true),
    ("+/+", "/finance", true),
    ("/+", "/finance", true),
    ("+", "/finance", false),
    ("+", "finance", true),
    ("+/tennis/#", "sport/tennis", true),
    ("#", "$open/x", false),
    ("+/x", "$open/x", false),
    ("+/#", "$open/x", false),
    ("$open/#", "$open/x", true),
    ("$open/+", "$open/x", true),
    ("a/#", "a/$x", true),
    ("ACCOUNTS", "Accounts", false),
    ("/a", "a", false),
    ("a/", "a", false),
    ("a", "a/", false),
    ("a/b", "a//b", false),
    ("a//b", "a//b", true),
    ("a/+/b", "a//b", true),
    ("a b", "a b", true),
    // The same letter, composed and not: no normalization.
    ("\u{e4}", "a\u{308}", false),
    ("\u{fffd}", "\u{e000}", false),
    ("a/./b", "a/b", false),
    ("a%2fb", "a/b", false),
];

/// The clauses that the filters above are about, of 3.1.1 and of 5.
pub const MATCHING: (&str, &str) = (
    "4.7.1-2 4.7.1-3 4.7.2-1 4.7.3-1 4.7.3-4",
    "4.7.1-1 4.7.1-2 4.7.2-1 4.7.3-1 4.7.3-4",
);

/// Tries them all; those that do not do what they should.
pub async fn matching(version: Version) -> Vec<String> {
    let mut failures = Vec::new();
    for (filter, topic, expected) in MATCHES {
        let mut stage = Stage::new(Site::Open, version);
        let comes = match expected {
            true => format!("a < 30 {{ \"{topic}\" % 'x' }}"),
            false => String::new(),
        };
        let script = format!(
            "a joins
             a > 82 {{ 0001 % \"{filter}\" 00 }}
             a < 90 {{ 0001 % 00 }}
             a > 30 {{ \"{topic}\" % 'x' }}
             {comes}
             a quiet"
        );
        if let Err(why) = stage.run(&script).await {
            failures.push(format!("{filter} and {topic}: {why}"));
        }
    }
    failures
}
