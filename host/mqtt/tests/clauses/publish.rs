//! 3.3 to 3.7 and 4.3: PUBLISH, its properties and its answers.

use crate::script::{Case, On, case};

pub const CASES: &[Case] = &[
    case(
        "3.3.1-3 4.3.1-1",
        "3.3.1-3 4.3.2-2 4.3.1-1",
        On::Open,
        "a DUP of the sender's is not passed on",
        "a joins
         b joins
         b > 82 { 0001 % \"t\" 01 }
         b < 90 { 0001 % 01 }
         a > 3a { \"t\" 0001 % 'x' }
         a < 40 { 0001 }
         b < 32 { \"t\" =p % 'x' }",
    ),
    case(
        "3.3.1-2",
        "3.3.1-2",
        On::Both,
        "DUP with QoS 0 ends the connection",
        "a joins
         a > 38 { \"{T}\" % 'x' }
         a refused 81",
    ),
    case(
        "3.3.1-4",
        "3.3.1-4",
        On::Both,
        "QoS 3 ends the connection",
        "a joins
         a > 36 { \"{T}\" 0001 % 'x' }
         a refused 81",
    ),
    case(
        "3.3.2-2 4.7.1-1",
        "3.3.2-2 4.7.0-1",
        On::Both,
        "a wildcard in a topic name ends the connection",
        "a joins
         a > 30 { \"t/+\" % 'x' }
         a refused 81|82|90
         a joins
         a > 30 { \"t/#\" % 'x' }
         a refused 81|82|90
         a joins
         a > 30 { \"t#\" % 'x' }
         a refused 81|82|90",
    ),
    case(
        "4.7.3-1",
        "4.7.3-1 3.3.2.1",
        On::Both,
        "an empty topic name ends the connection",
        "a joins
         a > 30 { \"\" % 'x' }
         a refused 82",
    ),
    case(
        "3.3.2-1 3.3.2-3",
        "3.3.2-1 3.3.2-3",
        On::Open,
        "a message comes under the topic that it was published to",
        "a joins
         a > 82 { 0001 % \"t/+/x/#\" 00 }
         a < 90 { 0001 % 00 }
         a > 30 { \"t/1/x/y/z\" % 'x' }
         a < 30 { \"t/1/x/y/z\" % 'x' }",
    ),
    case(
        "3.3.4-1 4.3.2-2",
        "3.3.4-1 4.3.2-4 4.3.2-5 3.4.2-1",
        On::Both,
        "QoS 1 is answered with PUBACK; with the same id then comes another message",
        "a joins
         a > 82 { 0001 % \"{F}\" 00 }
         a < 90 { 0001 % 00 }
         a > 32 { \"{T}\" 0007 % 'x' }
         a <* 40 { 0007 } // 30 { [ .. ] %( < > ) 'x' }
         a > 3a { \"{T}\" 0007 % 'y' }
         a <* 40 { 0007 } // 30 { [ .. ] %( < > ) 'y' }",
    ),
    case(
        "4.6.0-2",
        "4.6.0-2",
        On::Both,
        "PUBACKs come in the order of the messages",
        "a joins
         a > 32 { \"{T}\" 0003 % 'x' } // 32 { \"{T}\" 0001 % 'y' } // 32 { \"{T}\" 0002 % 'z' }
         a < 40 { 0003 }
         a < 40 { 0001 }
         a < 40 { 0002 }",
    ),
    case(
        "4.6.0-5 4.6.0-6",
        "4.6.0-5 4.6.0-6",
        On::Open,
        "messages of a client come in the order in which it sent them",
        "a joins
         b joins
         b > 82 { 0001 % \"t/#\" 01 }
         b < 90 { 0001 % 01 }
         a > 32 { \"t/1\" 0001 % '1' } // 30 { \"t/2\" % '2' } // 32 { \"t/1\" 0002 % '3' } // 33 { \"t/1\" 0003 % '4' } // 32 { \"t/1\" 0004 % '5' }
         b < 32 { \"t/1\" =a % '1' }
         b < 30 { \"t/2\" % '2' }
         b < 32 { \"t/1\" =b % '3' }
         b < 32 { \"t/1\" =c % '4' }
         b < 32 { \"t/1\" =d % '5' }",
    ),
    case(
        "3.3.5-1",
        "3.3.4-2",
        On::Open,
        "of subscriptions that overlap the highest QoS counts",
        "a joins
         a > 82 { 0001 % \"t/#\" 00 \"t/1\" 01 \"+/1\" 00 }
         a < 90 { 0001 % 00 01 00 }
         a > 32 { \"t/1\" 0001 % 'x' }
         a <* 40 { 0001 } // 32 { \"t/1\" =p % 'x' }",
    ),
    case(
        "3.3.5-2",
        "3.3.5 4.13.2-1",
        On::Open,
        "a message that no rule allows ends the connection, and goes to nobody",
        "b joins
         b > 82 { 0001 % \"#\" 00 }
         b < 90 { 0001 % 00 }
         a joins
         a > 32 { \"$closed/x\" 0001 % 'x' }
         a refused 87
         b quiet",
    ),
    case(
        "3.3.5-2",
        "3.3.5 4.13.2-1",
        On::Sdk,
        "a message in the name of somebody else ends the connection",
        "a joins
         a > 32 { \"devices/d/modules/other/messages/events/\" 0001 % 'x' }
         a refused 87
         a joins
         a > 32 { \"t/1\" 0001 % 'x' }
         a refused 87",
    ),
    case(
        "",
        "3.3.2-4 3.3.2-15 3.3.2-16 3.3.2-17 3.3.2-18 3.3.2-20",
        On::Open,
        "properties of a message come as they were, user properties in their order",
        "a joins
         a > 82 { 0001 00 \"t\" 00 }
         a < 90 { 0001 00 00 }
         a > 30 { \"t\" { 01 01 03 \"text/plain\" 08 \"re/x\" 09 [ 0001ff ] 26 \"k\" \"2\" 26 \"k\" \"1\" 26 \"\" \"\" 26 \"a\" \"ä\" } 'x' }
         a < 30 { \"t\" < 01 01, 03 \"text/plain\", 08 \"re/x\", 09 [ 0001ff ], 26 \"k\" \"2\", 26 \"k\" \"1\", 26 \"\" \"\", 26 \"a\" \"ä\" > 'x' }
         a > 30 { \"t\" { 01 00 09 [] } 'x' }
         a < 30 { \"t\" < !08, !03, !26, 09 [] > 'x' }",
    ),
    case(
        "",
        "3.3.2-14",
        On::Both,
        "a wildcard in a response topic ends the connection",
        "a joins
         a > 30 { \"{T}\" { 08 \"t/+\" } 'x' }
         a refused 81|82|90
         a joins
         a > 30 { \"{T}\" { 08 \"#\" } 'x' }
         a refused 81|82|90",
    ),
    case(
        "",
        "3.3.2.3.2 4.13.1-1",
        On::Both,
        "a payload format that there is not ends the connection",
        "a joins
         a > 30 { \"{T}\" { 01 02 } 'x' }
         a refused 81|82",
    ),
    case(
        "",
        "3.3.2-5 3.3.2-6",
        On::Open,
        "a message that expires while it waits does not come; others come with what is left of their time",
        "a joins kept
         a > 82 { 0001 00 \"t\" 01 }
         a < 90 { 0001 00 01 }
         a leaves
         b joins
         b > 32 { \"t\" 0001 { 02 0000000a } 'x' } // 32 { \"t\" 0002 { 02 00000064 } 'y' } // 32 { \"t\" 0003 00 'z' }
         b < 40 { 0001 }
         b < 40 { 0002 }
         b < 40 { 0003 }
         clock 20
         a rejoins
         a < 32 { \"t\" =y < 02 00000050 > 'y' }
         a < 32 { \"t\" =z < !02 > 'z' }
         a quiet",
    ),
    case(
        "",
        "3.3.2-5",
        On::Open,
        "a message that has no time at all does not wait",
        "a joins kept
         a > 82 { 0001 00 \"t\" 01 }
         a < 90 { 0001 00 01 }
         a leaves
         b joins
         b > 32 { \"t\" 0001 { 02 00000000 } 'x' }
         b < 40 { 0001 .. }
         clock 1
         a rejoins
         a quiet",
    ),
    case(
        "",
        "3.3.2-12",
        On::Both,
        "a topic alias stands for its topic until it is set anew; all that CONNACK allows are taken",
        "a > 10 { \"MQTT\" 05 c2 0000 00 \"{ID}\" \"{USER}\" \"{PASSWORD}\" }
         a < 20 { 00 00 < 22 0040 > }
         a > 82 { 0001 00 \"{F}\" 00 }
         a < 90 { 0001 00 00 }
         a > 30 { \"{T}\" { 23 0040 } '1' } // 30 { \"\" { 23 0040 } '2' } // 30 { \"{T}\" { 23 0001 } '3' } // 30 { \"\" { 23 0001 } '4' }
         a < 30 { [ .. ] < !23 > '1' }
         a < 30 { [ .. ] < !23 > '2' }
         a < 30 { [ .. ] < !23 > '3' }
         a < 30 { [ .. ] < !23 > '4' }",
    ),
    case(
        "",
        "3.3.2.3.4",
        On::Open,
        "a topic alias that is set anew stands for the new topic",
        "a joins
         a > 82 { 0001 00 \"#\" 00 }
         a < 90 { 0001 00 00 }
         a > 30 { \"t/1\" { 23 0002 } 'x' } // 30 { \"t/2\" { 23 0002 } 'y' } // 30 { \"\" { 23 0002 } 'z' }
         a < 30 { \"t/1\" 00 'x' }
         a < 30 { \"t/2\" 00 'y' }
         a < 30 { \"t/2\" 00 'z' }",
    ),
    case(
        "",
        "3.3.2-7",
        On::Both,
        "topic aliases end with their connection",
        "a joins kept
         a > 32 { \"{T}\" 0001 { 23 0001 } 'x' }
         a < 40 { 0001 }
         a drops
         a rejoins
         a > 32 { \"\" 0001 { 23 0001 } 'x' }
         a refused 82",
    ),
    case(
        "",
        "3.3.2-8 3.3.2-9 3.2.2-17 4.13.1-1",
        On::Both,
        "a topic alias of 0 or over the maximum ends the connection",
        "a joins
         a > 30 { \"{T}\" { 23 0000 } 'x' }
         a refused 94
         a joins
         a > 30 { \"{T}\" { 23 0041 } 'x' }
         a refused 94",
    ),
    case(
        "",
        "3.1.2-27 3.1.2-26 3.3.2-11",
        On::Open,
        "no alias is used that the client does not take",
        "a joins
         a > 82 { 0001 00 \"t\" 00 }
         a < 90 { 0001 00 00 }
         a > 30 { \"t\" 00 'x' } // 30 { \"t\" 00 'y' }
         a < 30 { \"t\" < !23 > 'x' }
         a < 30 { \"t\" < !23 > 'y' }",
    ),
    case(
        "",
        "3.3.4-3 3.3.4-4 3.3.4-5",
        On::Open,
        "a message says the identifiers of all subscriptions that it matches",
        "a joins
         a > 82 { 0001 { 0b 01 } \"t/#\" 00 }
         a < 90 { 0001 00 00 }
         a > 82 { 0002 { 0b ffffff7f } \"t/1\" 00 }
         a < 90 { 0002 00 00 }
         a > 82 { 0003 00 \"+/1\" 00 }
         a < 90 { 0003 00 00 }
         a > 30 { \"t/1\" 00 'x' }
         a < 30 { \"t/1\" < 0b 01, 0b ffffff7f > 'x' }
         a > 30 { \"t/2\" 00 'y' }
         a < 30 { \"t/2\" { 0b 01 } 'y' }
         a > 30 { \"u/1\" 00 'z' }
         a < 30 { \"u/1\" 00 'z' }",
    ),
    case(
        "",
        "3.3.4-6 4.13.1-1",
        On::Both,
        "a subscription identifier from a publisher ends the connection",
        "a joins
         a > 30 { \"{T}\" { 0b 01 } 'x' }
         a refused 81|82",
    ),
    case(
        "4.3.3-2 3.3.4-1 2.3.1-6",
        "4.3.3-8 4.3.3-10 4.3.3-11 4.3.3-12 3.3.4-1 3.5.2-1 3.7.2-1 2.2.1-5",
        On::Open,
        "a message of QoS 2 is published once, however often it comes until it is released",
        "b joins
         b > 82 { 0001 % \"t\" 01 }
         b < 90 { 0001 % 01 }
         a joins
         a > 34 { \"t\" 0007 % 'x' }
         a < 50 { 0007 }
         a > 3c { \"t\" 0007 % 'x' }
         a < 50 { 0007 }
         b < 32 { \"t\" =p % 'x' }
         b > 40 { =p }
         a > 62 { 0007 }
         a < 70 { 0007 }
         a > 34 { \"t\" 0007 % 'y' }
         a < 50 { 0007 }
         b < 32 { \"t\" =q % 'y' }
         b quiet",
    ),
    case(
        "4.3.3-2 4.1.0-1",
        "4.3.3-10 4.1.0-1",
        On::Open,
        "which messages of QoS 2 have come is kept with the session",
        "b joins
         b > 82 { 0001 % \"t\" 00 }
         b < 90 { 0001 % 00 }
         a joins kept
         a > 34 { \"t\" 0007 % 'x' }
         a < 50 { 0007 }
         b < 30 { \"t\" % 'x' }
         a drops
         stop
         b refused 8b
         start
         b joins
         b > 82 { 0001 % \"t\" 00 }
         b < 90 { 0001 % 00 }
         a rejoins
         a > 3c { \"t\" 0007 % 'x' }
         a < 50 { 0007 }
         a > 62 { 0007 }
         a < 70 { 0007 }
         b quiet",
    ),
    case(
        "4.3.3-2",
        "4.3.3-11 3.7.2-1",
        On::Open,
        "a release of what is not known is answered",
        "a joins
         a > 62 { 0009 }
         a < 70 { 0009 %( 92 ) }",
    ),
    case(
        "3.4.4",
        "3.4.4",
        On::Both,
        "an acknowledgement of what is not in flight is let be",
        "a joins
         a > 40 { 0001 }
         a quiet",
    ),
    case(
        "",
        "3.4.2-1 3.5.2-1 3.6.2-1 3.7.2-1 4.13.1-1",
        On::Both,
        "an answer with a reason that it cannot have ends the connection",
        "a joins
         a > 40 { 0001 01 }
         a refused 81|82
         a joins
         a > 50 { 0001 92 }
         a refused 81|82
         a joins
         a > 62 { 0001 80 }
         a refused 81|82
         a joins
         a > 70 { 0001 10 }
         a refused 81|82",
    ),
];
