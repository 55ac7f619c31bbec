//! 3.1.2.11, 3.2.2.3 and 4.12: properties of CONNECT and CONNACK, and authentication.

use crate::script::{Case, On, case};

pub const CASES: &[Case] = &[
    case(
        "",
        "3.2.2-9 3.2.2-10 3.2.2-11",
        On::Sdk,
        "a head that takes no QoS 2 says so, still grants subscriptions, and refuses such messages",
        "a > 10 { \"MQTT\" 05 c2 0000 00 \"{ID}\" \"{USER}\" \"{PASSWORD}\" }
         a < 20 { 00 00 < 24 01 > }
         a > 82 { 0001 00 \"{F}\" 02 }
         a < 90 { 0001 00 01 }
         a > 34 { \"{T}\" 0001 00 'x' }
         a refused 9b",
    ),
    case(
        "",
        "3.2.2-12",
        On::Sdk,
        "a will of a QoS that is not to be had is refused",
        "a > 10 { \"MQTT\" 05 d6 0000 00 \"{ID}\" 00 \"t\" [ 'x' ] \"{USER}\" \"{PASSWORD}\" }
         a rejected 9b -",
    ),
    case(
        "",
        "3.2.2-13",
        On::Sdk,
        "a will to be retained is refused where nothing is retained",
        "a > 10 { \"MQTT\" 05 e6 0000 00 \"{ID}\" 00 \"t\" [ 'x' ] \"{USER}\" \"{PASSWORD}\" }
         a rejected 9a -",
    ),
    case(
        "",
        "3.2.2-14",
        On::Sdk,
        "where nothing is retained, that is said, and a message to be retained is refused",
        "a > 10 { \"MQTT\" 05 c2 0000 00 \"{ID}\" \"{USER}\" \"{PASSWORD}\" }
         a < 20 { 00 00 < 25 00 > }
         a > 31 { \"{T}\" 00 'x' }
         a refused 9a",
    ),
    case(
        "",
        "3.2.2-15 4.13.2-1",
        On::Both,
        "a packet over the size that CONNACK says is refused",
        "a > 10 { \"MQTT\" 05 c2 0000 00 \"{ID}\" \"{USER}\" \"{PASSWORD}\" }
         a < 20 { 00 00 < 27 00040000 > }
         a > 30fdff0f \"{T}\" 00 61*60000
         a refused 95",
    ),
    case(
        "3.1.2.11",
        "3.1.2-27 3.1.2-28 4.12.0-6 3.2.2.3",
        On::Both,
        "CONNACK says nothing that was not asked for",
        "a > 10 { \"MQTT\" ^(04) %(05) c2 0000 %( { 19 00 } ) \"{ID}\" \"{USER}\" \"{PASSWORD}\" }
         a < 20 { 00 00 %( < !1a, !15, !16, !13 > ) }",
    ),
    case(
        "",
        "3.1.2.11 3.1.4-1 4.13.1-1",
        On::Both,
        "properties of CONNECT that have a value which they cannot have are refused",
        "a > 10 { \"MQTT\" 05 02 0000 { 21 0000 } \"{ID}\" }
         a rejected 82 -
         b > 10 { \"MQTT\" 05 02 0000 { 27 00000000 } \"{ID}\" }
         b rejected 82 -
         c > 10 { \"MQTT\" 05 02 0000 { 17 02 } \"{ID}\" }
         c rejected 82 -
         d > 10 { \"MQTT\" 05 02 0000 { 19 02 } \"{ID}\" }
         d rejected 82 -
         e > 10 { \"MQTT\" 05 02 0000 { 11 00000001 11 00000001 } \"{ID}\" }
         e rejected 82 -
         f > 10 { \"MQTT\" 05 02 0000 { 16 [ 00 ] } \"{ID}\" }
         f rejected 82 -
         g > 10 { \"MQTT\" 05 02 0000 { 01 00 } \"{ID}\" }
         g rejected 81|82 -",
    ),
    case(
        "",
        "4.12.0-1 4.12.0-4",
        On::Both,
        "an authentication method that is not known is refused",
        "a > 10 { \"MQTT\" 05 02 0000 { 15 \"SCRAM-SHA-1\" 16 [ 00 ] } \"{ID}\" }
         a rejected 8c -",
    ),
    case(
        "",
        "4.12.0-7 4.12.0-6 4.13.1-1",
        On::Both,
        "AUTH without a method in CONNECT ends the connection",
        "a joins
         a > f0 { 19 { 15 \"m\" } }
         a refused 82
         a joins
         a > f0 { 18 00 }
         a refused 82",
    ),
    case(
        "",
        "3.1.2.9 3.1.2-19",
        On::Open,
        "version 5 has passwords without a user name",
        "a > 10 { \"MQTT\" 05 42 0000 00 \"d\" \"{PASSWORD}\" }
         a < 20 { 00 00 < > }",
    ),
    case(
        "3.1.2-1",
        "",
        On::Open,
        "3.1, which has another name and level and is otherwise the same, is served",
        "a > 10 { \"MQIsdp\" 03 02 0000 \"a\" }
         a < 20020000
         a quiet
         b > 10 { \"MQIsdp\" 04 02 0000 \"b\" }
         b < 20020001
         b closed",
    ),
    case(
        "",
        "3.1.3.2 4.13.1-1 3.1.4-1",
        On::Both,
        "properties of a will that it cannot have are refused",
        "a > 10 { \"MQTT\" 05 06 0000 00 \"{ID}\" { 23 0001 } \"t\" [ 00 ] }
         a rejected 81|82 -
         b > 10 { \"MQTT\" 05 06 0000 00 \"{ID}\" { 01 02 } \"t\" [ 00 ] }
         b rejected 81|82 -
         c > 10 { \"MQTT\" 05 06 0000 00 \"{ID}\" { 18 00000001 18 00000001 } \"t\" [ 00 ] }
         c rejected 82 -
         d > 10 { \"MQTT\" 05 06 0000 00 \"{ID}\" { 08 \"t/#\" } \"t\" [ 00 ] }
         d rejected 81|82|90 -",
    ),
    case(
        "",
        "3.1.2.11.8 3.2.2.3.2",
        On::Both,
        "user properties are taken; a session expiry other than asked for is said",
        "a > 10 { \"MQTT\" 05 c2 0000 { 26 \"a\" \"b\" 26 \"a\" \"b\" 11 00000064 } \"{ID}\" \"{USER}\" \"{PASSWORD}\" }
         a < 20 { 00 00 < !11 > }",
    ),
    case(
        "",
        "3.2.2.3.2",
        On::Open,
        "no session of the open topics is kept for more than a week, which is said",
        "a > 10 { \"MQTT\" 05 02 0000 { 11 ffffffff } \"a\" }
         a < 20 { 00 00 < 11 00093a80 > }",
    ),
    case(
        "3.1.3-9 3.2.2-4 3.2.2-5",
        "3.1.3-8 3.2.2-6 3.2.2-7",
        On::Open,
        "client ids may have 256 bytes",
        "a > 10 { \"MQTT\" ^(04) %(05) 02 0000 % [ 61*256 ] }
         a < 20 { 00 00 %( < > ) }
         b > 10 { \"MQTT\" ^(04) %(05) 02 0000 % [ 61*257 ] }
         b rejected 85 02",
    ),
];
