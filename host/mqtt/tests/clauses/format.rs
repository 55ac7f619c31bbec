//! Chapters 1 and 2: texts, numbers, fixed headers, packet ids.

use crate::script::{Case, On, case};

pub const CASES: &[Case] = &[
    case(
        "1.5.3-1 4.8.0-1 3.3.2-1",
        "1.5.4-1 4.13.1-1 3.3.2-1",
        On::Both,
        "a topic that is not UTF-8 ends the connection",
        "a joins
         a > 30 { [ 'a' ff ] % 'x' }
         a refused 81
         a joins
         a > 30 { [ c0 80 ] % 'x' }
         a refused 81",
    ),
    case(
        "1.5.3-1",
        "1.5.4-1",
        On::Both,
        "surrogates are not UTF-8",
        "a joins
         a > 30 { [ eda080 ] % 'x' }
         a refused 81
         a joins
         a > 82 { 0001 % [ 'a' edbfbf ] 00 }
         a refused 81",
    ),
    case(
        "1.5.3-1 3.8.3-1",
        "1.5.4-1 3.8.3-1",
        On::Both,
        "a filter to subscribe to is UTF-8",
        "a joins
         a > 82 { 0001 % [ 'a' ff ] 00 }
         a refused 81",
    ),
    case(
        "1.5.3-1 3.10.3-1",
        "1.5.4-1 3.10.3-1",
        On::Both,
        "a filter to unsubscribe from is UTF-8",
        "a joins
         a > a2 { 0001 % [ 'a' ff ] }
         a refused 81",
    ),
    case(
        "1.5.3-1 3.1.3-4 3.1.4-1",
        "1.5.4-1 3.1.3-4 3.1.4-1",
        On::Both,
        "a client id is UTF-8",
        "a > 10 { \"MQTT\" ^(04) %(05) 02 0000 % [ 'a' ff ] }
         a rejected 81 -",
    ),
    case(
        "1.5.3-1 3.1.3-11 3.1.4-1",
        "1.5.4-1 3.1.3-12 3.1.4-1",
        On::Both,
        "a user name is UTF-8",
        "a > 10 { \"MQTT\" ^(04) %(05) 82 0000 % \"{ID}\" [ ff ] }
         a rejected 81 -",
    ),
    case(
        "1.5.3-1 3.1.3-10 3.1.4-1",
        "1.5.4-1 3.1.3-11 3.1.4-1",
        On::Both,
        "the topic of a will is UTF-8",
        "a > 10 { \"MQTT\" ^(04) %(05) 06 0000 % \"{ID}\" % [ ff ] [ 'x' ] }
         a rejected 81 -",
    ),
    case(
        "",
        "1.5.4-1 3.3.2-13 3.3.2-19",
        On::Both,
        "response topics and content types are UTF-8",
        "a joins
         a > 30 { \"{T}\" { 08 [ ff ] } 'x' }
         a refused 81
         a joins
         a > 30 { \"{T}\" { 03 [ ff ] } 'x' }
         a refused 81",
    ),
    case(
        "1.5.3-2 4.7.3-2",
        "1.5.4-2 4.7.3-2",
        On::Both,
        "a text with U+0000 ends the connection",
        "a joins
         a > 30 { [ 'a' 00 'b' ] % 'x' }
         a refused 81
         a joins
         a > 82 { 0001 % [ 'a' 00 ] 00 }
         a refused 81
         a joins
         a > a2 { 0001 % [ 00 ] }
         a refused 81",
    ),
    case(
        "1.5.3-2 3.1.4-1",
        "1.5.4-2 3.1.4-1",
        On::Both,
        "client ids, user names and topics of wills have no U+0000",
        "a > 10 { \"MQTT\" ^(04) %(05) 02 0000 % [ 'a' 00 ] }
         a rejected 81 -
         b > 10 { \"MQTT\" ^(04) %(05) 82 0000 % \"{ID}\" [ 00 ] }
         b rejected 81 -
         c > 10 { \"MQTT\" ^(04) %(05) 06 0000 % \"{ID}\" % [ 'a' 00 ] [] }
         c rejected 81 -",
    ),
    case(
        "1.5.3-3",
        "1.5.4-3",
        On::Open,
        "U+FEFF is a character like others",
        "a joins
         a > 82 { 0001 % [ 't/' efbbbf ] 00 }
         a < 90 { 0001 % 00 }
         a > 30 { \"t/\" % 'not this' }
         a > 30 { [ 't/' efbbbf ] % 'this' }
         a < 30 { [ 't/' efbbbf ] % 'this' }
         a quiet",
    ),
    case(
        "",
        "1.5.5-1",
        On::Both,
        "numbers of variable length take no more bytes than they need",
        "a joins
         a > 30 { \"{T}\" 8000 'x' }
         a refused 81
         a joins
         a > c08000
         a refused 81
         a joins
         a > 82 { 0001 { 0b 8100 } \"{F}\" 00 }
         a refused 81",
    ),
    case(
        "2.2.3",
        "1.5.5",
        On::Both,
        "a remaining length of five bytes ends the connection",
        "a joins
         a > 30ffffffff7f
         a refused 81
         b > 10ffffffff7f
         b rejected",
    ),
    case(
        "",
        "1.5.7-1",
        On::Both,
        "both texts of a user property are UTF-8 without U+0000",
        "a joins
         a > 30 { \"{T}\" { 26 [ ff ] \"v\" } 'x' }
         a refused 81
         a joins
         a > 30 { \"{T}\" { 26 \"k\" [ 00 ] } 'x' }
         a refused 81",
    ),
    case(
        "2.2.2-1 2.2.2-2",
        "2.1.3-1 4.13.1-1",
        On::Both,
        "reserved flags that are set end the connection",
        "a joins
         a > 41 { 0001 }
         a refused 81
         a joins
         a > 53 { 0001 }
         a refused 81
         a joins
         a > 78 { 0001 }
         a refused 81
         a joins
         a > c100
         a refused 81",
    ),
    case(
        "2.2.2-2 3.1.4-1",
        "2.1.3-1 3.1.4-1",
        On::Both,
        "reserved flags in the first byte of CONNECT end the connection",
        "a > 11 { \"MQTT\" ^(04) %(05) 02 0000 % \"{ID}\" }
         a rejected",
    ),
    case(
        "2.2.2-2 3.6.1-1",
        "2.1.3-1 3.6.1-1",
        On::Both,
        "PUBREL has the flags 0010",
        "a joins
         a > 60 { 0001 }
         a refused 81",
    ),
    case(
        "2.2.2-2 3.8.1-1",
        "2.1.3-1 3.8.1-1",
        On::Both,
        "SUBSCRIBE has the flags 0010",
        "a joins
         a > 80 { 0001 % \"{F}\" 00 }
         a refused 81
         a joins
         a > 8a { 0001 % \"{F}\" 00 }
         a refused 81",
    ),
    case(
        "2.2.2-2 3.10.1-1",
        "2.1.3-1 3.10.1-1",
        On::Both,
        "UNSUBSCRIBE has the flags 0010",
        "a joins
         a > a0 { 0001 % \"{F}\" }
         a refused 81
         a joins
         a > a3 { 0001 % \"{F}\" }
         a refused 81",
    ),
    case(
        "2.2.2-2 3.14.1-1",
        "2.1.3-1 3.14.1-1",
        On::Both,
        "DISCONNECT has no flags",
        "a joins
         a > e100
         a refused 81",
    ),
    case(
        "",
        "2.1.3-1 3.15.1-1",
        On::Both,
        "AUTH has no flags",
        "a joins
         a > f1 { 18 { 15 \"m\" } }
         a refused 81",
    ),
    case(
        "4.8.0-1",
        "2.1.2 4.13.1-1",
        On::Both,
        "packets of no type, and those that only servers send, end the connection",
        "a joins
         a > 0000
         a refused 81|82
         a joins
         a > 20 { 0000 % }
         a refused 82
         a joins
         a > 90 { 0001 % 00 }
         a refused 82
         a joins
         a > b0 { 0001 %( 00 00 ) }
         a refused 82
         a joins
         a > d000
         a refused 82",
    ),
    case(
        "2.2.1",
        "",
        On::Both,
        "there is no packet of type 15",
        "a joins
         a > f000
         a closed",
    ),
    case(
        "2.3.1-1 4.8.0-1",
        "2.2.1-3 4.13.1-1",
        On::Both,
        "the packet id 0 ends the connection",
        "a joins
         a > 32 { \"{T}\" 0000 % 'x' }
         a refused 81|82
         a joins
         a > 82 { 0000 % \"{F}\" 00 }
         a refused 81|82
         a joins
         a > a2 { 0000 % \"{F}\" }
         a refused 81|82",
    ),
    case(
        "2.3.1-5 4.3.1-1 3.3.1-2",
        "2.2.1-2 4.3.1-1 3.3.1-2",
        On::Open,
        "QoS 0 has no packet id, coming or going, and no DUP",
        "a joins
         a > 82 { 0001 % \"t\" 01 }
         a < 90 { 0001 % 01 }
         a > 30 { \"t\" % 0007 }
         a < 30 { \"t\" % 0007 }",
    ),
    case(
        "2.3.1-6 3.3.4-1",
        "2.2.1-5 3.3.4-1 4.3.2-4",
        On::Both,
        "PUBACK has the packet id of its PUBLISH; QoS 0 has no answer",
        "a joins
         a > 32 { \"{T}\" 1234 % 'x' }
         a < 40 { 1234 }
         a > 30 { \"{T}\" % 'x' }
         a > 32 { \"{T}\" ffff % 'x' }
         a < 40 { ffff }
         a quiet",
    ),
    case(
        "2.3.1-7",
        "2.2.1-6",
        On::Both,
        "SUBACK and UNSUBACK have the packet id of what they answer",
        "a joins
         a > 82 { fffe % \"{F}\" 00 }
         a < 90 { fffe % 00 }
         a > a2 { 00ff % \"{F}\" }
         a < b0 { 00ff %( 00 00 ) }",
    ),
    case(
        "2.3.1-2 2.3.1-4 4.3.2-1",
        "2.2.1-4 4.3.2-1 4.3.2-2",
        On::Both,
        "each message in flight has an id of its own, and DUP is not set the first time",
        "a joins
         a > 82 { 0001 % \"{F}\" 01 }
         a < 90 { 0001 % 01 }
         a > 32 { \"{T}\" 0001 % 'x' } // 32 { \"{T}\" 0002 % 'y' } // 32 { \"{T}\" 0003 % 'z' }
         a <* 40 { 0001 } // 40 { 0002 } // 40 { 0003 } // 32 { [ .. ] =x %( < > ) 'x' } // 32 { [ .. ] =y %( < > ) 'y' } // 32 { [ .. ] =z %( < > ) 'z' }
         a quiet",
    ),
    case(
        "",
        "2.2.2-1",
        On::Both,
        "what has no properties says so",
        "a joins
         a > 82 { 0001 00 \"{F}\" 00 }
         a < 90 { 0001 00 00 }
         a > a2 { 0002 00 \"{F}\" }
         a < b0 { 0002 00 00 }",
    ),
    case(
        "",
        "2.2.2.2 4.13.1-1",
        On::Both,
        "properties that do not belong to a packet, are none, or come twice end the connection",
        "a joins
         a > 30 { \"{T}\" { 11 00000001 } 'x' }
         a refused 81|82
         a joins
         a > 30 { \"{T}\" { 7f } 'x' }
         a refused 81
         a joins
         a > 30 { \"{T}\" { 03 \"a\" 03 \"a\" } 'x' }
         a refused 82
         a joins
         a > 82 { 0001 { 0b 01 0b 01 } \"{F}\" 00 }
         a refused 82
         a joins
         a > 30 { \"{T}\" 40 'short' }
         a refused 81",
    ),
    case(
        "4.8.0-1",
        "4.13.1-1",
        On::Both,
        "bytes behind the last field, and fields that are cut off, end the connection",
        "a joins
         a > c0 { 00 }
         a refused 81
         a joins
         a > 82 { 00 }
         a refused 81
         a joins
         a > 32 { \"{T}\" 00 }
         a refused 81
         a joins
         a > 30 { ffff 'x' }
         a refused 81
         a joins
         a > 40 { 0001 00 00 00 }
         a refused 81",
    ),
];
