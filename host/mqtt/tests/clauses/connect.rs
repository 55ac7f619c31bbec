//! 3.1 and 3.2: CONNECT and its answer.

use crate::script::{Case, On, case};

pub const CASES: &[Case] = &[
    case(
        "3.1.0-1",
        "3.1.0-1 3.14.0-1",
        On::Both,
        "whoever begins with anything but CONNECT is closed, without DISCONNECT",
        "a > c000
         a closed
         b > 30 { \"{T}\" % 'x' }
         b closed
         c > 82 { 0001 % \"{F}\" 00 }
         c closed
         d > e000
         d closed
         e > 0000
         e closed",
    ),
    case(
        "3.1.0-2 4.8.0-1",
        "3.1.0-2 4.13.1-1 4.13.2-1",
        On::Both,
        "a second CONNECT ends the connection",
        "a joins
         a > 10 { \"MQTT\" ^(04) %(05) 02 0000 % \"{ID}\" }
         a refused 82",
    ),
    case(
        "3.1.2-1",
        "3.1.2-1",
        On::Both,
        "another protocol is not served",
        "a > 10 { \"MQTX\" ^(04) %(05) 02 0000 % \"{ID}\" } // c000
         a rejected
         b > 10 { \"mqtt\" ^(04) %(05) 02 0000 % \"{ID}\" } // c000
         b rejected
         c > 10 { \"HTTP/1.1 200 OK\" 02 0000 }
         c rejected",
    ),
    case(
        "3.1.2-2",
        "3.1.2-2",
        On::Both,
        "an unknown level is answered in words that all versions know",
        "a > 10 { \"MQTT\" 06 02 0000 % \"{ID}\" } // c000
         a < 20020001
         a closed
         b > 10 { \"MQTT\" 00 02 0000 % \"{ID}\" }
         b < 20020001
         b closed
         c > 10 { \"MQTT\" 85 02 0000 % \"{ID}\" }
         c < 20020001
         c closed",
    ),
    case(
        "3.1.2-3 3.1.4-1",
        "3.1.2-3 3.1.4-1",
        On::Both,
        "the reserved connect flag is 0",
        "a > 10 { \"MQTT\" ^(04) %(05) 03 0000 % \"{ID}\" }
         a rejected 81 -",
    ),
    case(
        "3.1.2-4 3.1.2-5 3.2.2-2 3.2.2-3 3.1.4-3 3.1.4-4",
        "3.1.2-5 3.1.2-6 3.1.2-23 3.2.2-3 3.1.4-4 3.1.4-5",
        On::Both,
        "a session that was to be kept is taken up again, with its subscriptions and what came meanwhile",
        "a joins kept
         a > 82 { 0001 % \"{F}\" 01 }
         a < 90 { 0001 % 01 }
         a leaves
         a rejoins
         a > 32 { \"{T}\" 0001 % 'x' }
         a <* 40 { 0001 } // 32 { [ .. ] =p %( < > ) 'x' }",
    ),
    case(
        "3.1.2-5 4.5.0-1",
        "3.1.2-5 4.5.0-1",
        On::Open,
        "messages for a session that sleeps wait for it",
        "a joins kept
         a > 82 { 0001 % \"t/#\" 01 }
         a < 90 { 0001 % 01 }
         a drops
         b joins
         b > 32 { \"t/1\" 0001 % 'x' } // 32 { \"t/2\" 0002 % 'y' }
         b < 40 { 0001 }
         b < 40 { 0002 }
         a rejoins
         a < 32 { \"t/1\" =x % 'x' }
         a < 32 { \"t/2\" =y % 'y' }
         a quiet",
    ),
    case(
        "3.1.2-6 3.2.2-1",
        "3.1.2-4 3.2.2-2 4.1.0-2",
        On::Open,
        "a clean start forgets the session, and a session without expiry ends with its connection",
        "a joins kept
         a > 82 { 0001 % \"{F}\" 01 }
         a < 90 { 0001 % 01 }
         a leaves
         a joins
         a > 32 { \"{T}\" 0001 % 'x' }
         a < 40 { 0001 }
         a quiet
         a > 82 { 0002 % \"{F}\" 01 }
         a < 90 { 0002 % 01 }
         a leaves
         a joins kept
         a > 32 { \"{T}\" 0001 % 'x' }
         a < 40 { 0001 }
         a quiet",
    ),
    case(
        "3.1.2-6 3.2.2-1",
        "3.1.2-4 3.2.2-2",
        On::Sdk,
        "a clean start forgets the session; what waits for the module is the module's and waits on",
        "a joins kept
         a > 82 { 0001 % \"{F}\" 01 }
         a < 90 { 0001 % 01 }
         a leaves
         a joins
         a > 32 { \"{T}\" 0001 % 'x' }
         a < 40 { 0001 }
         a quiet
         a > 82 { 0002 % \"{F}\" 01 }
         a <* 90 { 0002 % 01 } // 32 { [ .. ] =p %( < > ) 'x' }",
    ),
    case(
        "3.1.2-11 3.1.2-13 3.1.4-1",
        "3.1.2-11 3.1.4-1",
        On::Both,
        "without a will there is no QoS of it",
        "a > 10 { \"MQTT\" ^(04) %(05) 0a 0000 % \"{ID}\" }
         a rejected 81 -",
    ),
    case(
        "3.1.2-11 3.1.2-15 3.1.4-1",
        "3.1.2-13 3.1.4-1",
        On::Both,
        "without a will there is no retain flag of it",
        "a > 10 { \"MQTT\" ^(04) %(05) 22 0000 % \"{ID}\" }
         a rejected 81 -",
    ),
    case(
        "3.1.2-11 3.1.4-1",
        "3.1.4-1",
        On::Both,
        "without a will flag there is no will",
        "a > 10 { \"MQTT\" ^(04) %(05) 02 0000 % \"{ID}\" % \"t\" [ 'x' ] }
         a rejected 81 -",
    ),
    case(
        "3.1.2-14 3.1.4-1",
        "3.1.2-12 3.1.4-1",
        On::Both,
        "a will does not have QoS 3",
        "a > 10 { \"MQTT\" ^(04) %(05) 1e 0000 % \"{ID}\" % \"t\" [ 'x' ] }
         a rejected 81 -",
    ),
    case(
        "3.1.2-9 3.1.4-1",
        "3.1.2-9 3.1.4-1",
        On::Both,
        "a will flag goes with topic and body",
        "a > 10 { \"MQTT\" ^(04) %(05) 06 0000 % \"{ID}\" }
         a rejected 81 -
         b > 10 { \"MQTT\" ^(04) %(05) 06 0000 % \"{ID}\" % \"t\" }
         b rejected 81 -",
    ),
    case(
        "3.1.2-18 3.1.2-19 3.1.4-1",
        "3.1.2-16 3.1.2-17 3.1.4-1",
        On::Both,
        "the user name is there if its flag is, and else not",
        "a > 10 { \"MQTT\" ^(04) %(05) 02 0000 % \"{ID}\" \"{USER}\" }
         a rejected 81 -
         b > 10 { \"MQTT\" ^(04) %(05) 82 0000 % \"{ID}\" }
         b rejected 81 -",
    ),
    case(
        "3.1.2-20 3.1.2-21 3.1.4-1",
        "3.1.2-18 3.1.2-19 3.1.4-1",
        On::Both,
        "the password is there if its flag is, and else not",
        "a > 10 { \"MQTT\" ^(04) %(05) 82 0000 % \"{ID}\" \"{USER}\" \"{PASSWORD}\" }
         a rejected 81 -
         b > 10 { \"MQTT\" ^(04) %(05) c2 0000 % \"{ID}\" \"{USER}\" }
         b rejected 81 -",
    ),
    case(
        "3.1.2-22 3.1.4-1",
        "",
        On::Both,
        "there is no password without a user name",
        "a > 10 { \"MQTT\" 04 42 0000 \"{ID}\" \"{PASSWORD}\" }
         a closed",
    ),
    case(
        "3.1.3-1 3.1.2-19 3.1.2-21",
        "3.1.3-1 3.1.2-17 3.1.2-19 3.1.2-9",
        On::Both,
        "the fields come in the order client id, will, user name, password",
        "a > 10 { \"MQTT\" ^(04) %(05) c6 0000 % \"{ID}\" % \"t/will\" [ 'gone' ] \"{USER}\" \"{PASSWORD}\" }
         a < 20 { 00 00 %( < > ) }
         b > 10 { \"MQTT\" ^(04) %(05) c6 0000 % \"{ID}\" \"{USER}\" \"{PASSWORD}\" % \"t/will\" [ 'gone' ] }
         b rejected",
    ),
    case(
        "3.1.3-3 3.1.4-1",
        "3.1.3-3 3.1.4-1",
        On::Both,
        "the client id is there",
        "a > 10 { \"MQTT\" ^(04) %(05) 02 0000 % }
         a rejected 81 -",
    ),
    case(
        "3.1.3-5",
        "3.1.3-5",
        On::Open,
        "client ids of 1 to 23 letters and digits are allowed",
        "a > 10 { \"MQTT\" ^(04) %(05) 02 0000 % \"0123456789abcdefghijklm\" }
         a < 20 { 00 00 %( < !12 > ) }
         b > 10 { \"MQTT\" ^(04) %(05) 02 0000 % \"nopqrstuvwxyzABCDEFGHIJ\" }
         b < 20 { 00 00 %( < > ) }
         c > 10 { \"MQTT\" ^(04) %(05) 02 0000 % \"KLMNOPQRSTUVWXYZ\" }
         c < 20 { 00 00 %( < > ) }
         a quiet
         b quiet",
    ),
    case(
        "3.1.3-2",
        "3.1.3-2",
        On::Open,
        "sessions go by client id",
        "a joins kept
         a > 82 { 0001 % \"t\" 01 }
         a < 90 { 0001 % 01 }
         a leaves
         b joins kept
         b > 30 { \"t\" % 'x' }
         b quiet
         a rejoins",
    ),
    case(
        "3.1.3-6",
        "",
        On::Open,
        "clients without an id are told apart",
        "a > 10 { \"MQTT\" 04 02 0000 \"\" }
         a < 20020000
         b > 10 { \"MQTT\" 04 02 0000 \"\" }
         b < 20020000
         a quiet
         b quiet",
    ),
    case(
        "3.1.3-7 3.1.3-8 3.2.2-4 3.2.2-5",
        "",
        On::Both,
        "whoever wants its session kept has an id",
        "a > 10 { \"MQTT\" 04 00 0000 \"\" } // c000
         a < 20020002
         a closed",
    ),
    case(
        "",
        "3.1.3-6 3.1.3-7 3.2.2-16",
        On::Open,
        "clients without an id are given one, each its own",
        "a > 10 { \"MQTT\" 05 02 0000 00 \"\" }
         a < 20 { 00 00 < 12 .. > }
         b > 10 { \"MQTT\" 05 00 0000 { 11 00000064 } \"\" }
         b < 20 { 00 00 < 12 .. > }
         a quiet
         b quiet",
    ),
    case(
        "3.1.3-9 3.2.2-4 3.2.2-5 3.1.4-5",
        "3.1.3-8 3.2.2-6 3.2.2-7 3.2.2-8 3.1.4-6 4.13.2-1",
        On::Sdk,
        "a client id that is not the client's is refused, and what comes behind it is not read",
        "a > 10 { \"MQTT\" ^(04) %(05) c2 0000 % \"d/other\" \"{USER}\" \"{PASSWORD}\" } // c000
         a rejected 85 02",
    ),
    case(
        "3.2.2-4 3.2.2-5 3.1.4-5 3.1.4",
        "3.1.4-2 3.1.4-6 3.2.2-6 3.2.2-7 3.2.2-8 4.13.2-1",
        On::Both,
        "whoever proves nothing is refused, and what comes behind it is not read",
        "a > 10 { \"MQTT\" ^(04) %(05) c2 0000 % \"{ID}\" \"{USER}\" \"bm90IGl0\" } // 82 { 0001 % \"{F}\" 00 } // c000
         a rejected 86|87 05",
    ),
    case(
        "3.1.4-5",
        "3.1.4-6",
        On::Open,
        "nothing is published behind a CONNECT that was refused",
        "b joins
         b > 82 { 0001 % \"#\" 00 }
         b < 90 { 0001 % 00 }
         a > 10 { \"MQTT\" ^(04) %(05) c2 0000 % \"a\" \"d\" \"bm90IGl0\" } // 30 { \"t\" % 'x' }
         a rejected 86|87 05
         b quiet",
    ),
    case(
        "3.1.4-2",
        "3.1.4-3",
        On::Both,
        "a connection gives way to the next one of the same client",
        "a joins
         a2 joins
         a refused 8e
         a2 quiet",
    ),
    case(
        "3.1.4-2 3.1.2-4",
        "3.1.4-3 3.1.2-5",
        On::Both,
        "the session goes over to the connection that takes over",
        "a joins kept
         a > 82 { 0001 % \"{F}\" 01 }
         a < 90 { 0001 % 01 }
         a2 rejoins
         a refused 8e
         a2 > 32 { \"{T}\" 0001 % 'x' }
         a2 <* 40 { 0001 } // 32 { [ .. ] =p %( < > ) 'x' }",
    ),
    case(
        "3.1.4 3.1.4-4 3.2.0-1",
        "3.1.4 3.1.4-5 3.2.0-1 3.2.0-2",
        On::Both,
        "a client need not wait for CONNACK, and that comes first, and once",
        "a > 10 { \"MQTT\" ^(04) %(05) c2 0000 % \"{ID}\" \"{USER}\" \"{PASSWORD}\" } // 82 { 0001 % \"{F}\" 00 } // c000
         a < 20 { 00 00 %( < > ) }
         a <* 90 { 0001 % 00 } // d000
         a quiet",
    ),
    case(
        "",
        "3.2.2-1",
        On::Both,
        "CONNACK has no flag but session present",
        "a joins
         a leaves
         a joins kept
         a drops
         a rejoins",
    ),
];
