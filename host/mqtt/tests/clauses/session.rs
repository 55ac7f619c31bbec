//! 3.1.2.11.2, 3.14, 4.1 and 4.4 to 4.6: how long sessions last, and what comes again.

use crate::script::{Case, On, case};

pub const CASES: &[Case] = &[
    case(
        "3.3.1-1 4.4.0-1 4.6.0-1",
        "3.3.1-1 4.4.0-1 4.3.2-3 4.6.0-1",
        On::Both,
        "what was not acknowledged comes again after a reconnect: in its order, with its id and DUP",
        "a joins kept
         a > 82 { 0001 % \"{F}\" 01 }
         a < 90 { 0001 % 01 }
         a > 32 { \"{T}\" 0001 % 'x' } // 32 { \"{T}\" 0002 % 'y' } // 32 { \"{T}\" 0003 % 'z' }
         a <* 40 { 0001 } // 40 { 0002 } // 40 { 0003 } // 32 { [ .. ] =x %( < > ) 'x' } // 32 { [ .. ] =y %( < > ) 'y' } // 32 { [ .. ] =z %( < > ) 'z' }
         a > 40 { =y } // c000
         a < d000
         a drops
         a rejoins
         a < 3a { [ .. ] =x %( < > ) 'x' }
         a < 3a { [ .. ] =z %( < > ) 'z' }
         a > 40 { =x } // 40 { =z }
         a quiet
         a drops
         a rejoins
         a quiet",
    ),
    case(
        "4.4.0-1 4.3.2-1 4.1.0-2",
        "4.4.0-1 4.1.0-1",
        On::Both,
        "nothing comes again on the same connection, and its session lasts as long as it does",
        "a joins
         a > 82 { 0001 % \"{F}\" 01 }
         a < 90 { 0001 % 01 }
         a > 32 { \"{T}\" 0001 % 'x' }
         a <* 40 { 0001 } // 32 { [ .. ] =x %( < > ) 'x' }
         clock 3600
         a quiet
         a > 32 { \"{T}\" 0001 % 'y' }
         a <* 40 { 0001 } // 32 { [ .. ] =y %( < > ) 'y' }",
    ),
    case(
        "",
        "4.4.0-2",
        On::Both,
        "what was answered with an error does not come again",
        "a joins kept
         a > 82 { 0001 00 \"{F}\" 01 }
         a < 90 { 0001 00 01 }
         a > 32 { \"{T}\" 0001 00 'x' } // 32 { \"{T}\" 0002 00 'y' }
         a <* 40 { 0001 } // 40 { 0002 } // 32 { [ .. ] =x < > 'x' } // 32 { [ .. ] =y < > 'y' }
         a > 40 { =x 97 } // c000
         a < d000
         a drops
         a rejoins
         a < 3a { [ .. ] =y < > 'y' }
         a quiet",
    ),
    case(
        "4.1.0-1 3.1.2-4",
        "4.1.0-1 3.1.2-5 3.1.2-23",
        On::Both,
        "sessions outlive the server",
        "a joins kept
         a > 82 { 0001 % \"{F}\" 01 }
         a < 90 { 0001 % 01 }
         a > 32 { \"{T}\" 0001 % 'x' }
         a <* 40 { 0001 } // 32 { [ .. ] =x %( < > ) 'x' }
         stop
         a refused 8b
         start
         a rejoins
         a < 3a { [ .. ] =x %( < > ) 'x' }
         a > 40 { =x }
         a > 32 { \"{T}\" 0002 % 'y' }
         a <* 40 { 0002 } // 32 { [ .. ] =y %( < > ) 'y' }",
    ),
    case(
        "",
        "4.1.0-2 3.1.2-23",
        On::Both,
        "a session ends when its expiry has passed, and not before",
        "a > 10 { \"MQTT\" 05 c0 0000 { 11 00000064 } \"{ID}\" \"{USER}\" \"{PASSWORD}\" }
         a < 20 { 00 00 .. }
         a drops
         clock 99
         a > 10 { \"MQTT\" 05 c0 0000 { 11 00000064 } \"{ID}\" \"{USER}\" \"{PASSWORD}\" }
         a < 20 { 01 00 .. }
         a > e000
         a closed
         clock 101
         a > 10 { \"MQTT\" 05 c0 0000 { 11 00000064 } \"{ID}\" \"{USER}\" \"{PASSWORD}\" }
         a < 20 { 00 00 .. }",
    ),
    case(
        "",
        "4.1.0-2 3.1.2.11.2",
        On::Both,
        "a session without expiry ends with its connection",
        "a > 10 { \"MQTT\" 05 c0 0000 { 11 00000000 } \"{ID}\" \"{USER}\" \"{PASSWORD}\" }
         a < 20 { 00 00 .. }
         a drops
         a > 10 { \"MQTT\" 05 c0 0000 00 \"{ID}\" \"{USER}\" \"{PASSWORD}\" }
         a < 20 { 00 00 .. }
         a > e000
         a closed
         a > 10 { \"MQTT\" 05 c0 0000 00 \"{ID}\" \"{USER}\" \"{PASSWORD}\" }
         a < 20 { 00 00 .. }",
    ),
    case(
        "",
        "3.14.2.2.2 3.1.2-23 4.1.0-2",
        On::Both,
        "DISCONNECT may change how long a session is kept",
        "a > 10 { \"MQTT\" 05 c0 0000 { 11 00000064 } \"{ID}\" \"{USER}\" \"{PASSWORD}\" }
         a < 20 { 00 00 .. }
         a > e0 { 00 { 11 000003e8 } }
         a closed
         clock 500
         a > 10 { \"MQTT\" 05 c0 0000 { 11 00000064 } \"{ID}\" \"{USER}\" \"{PASSWORD}\" }
         a < 20 { 01 00 .. }
         a > e0 { 00 { 11 00000000 } }
         a closed
         a > 10 { \"MQTT\" 05 c0 0000 { 11 00000064 } \"{ID}\" \"{USER}\" \"{PASSWORD}\" }
         a < 20 { 00 00 .. }",
    ),
    case(
        "",
        "3.14.2.2.2 4.13.1-1",
        On::Both,
        "a session that was not to be kept cannot be kept by DISCONNECT",
        "a joins
         a > e0 { 00 { 11 00000001 } }
         a refused 82
         a > 10 { \"MQTT\" 05 c0 0000 00 \"{ID}\" \"{USER}\" \"{PASSWORD}\" }
         a < 20 { 00 00 .. }",
    ),
    case(
        "3.14.4-1 3.14.4-2",
        "3.14.4-1 3.14.4-2 3.14.2-1",
        On::Both,
        "after DISCONNECT nothing is read any more, and the connection is closed",
        "a joins
         a > e000 // c000
         a closed
         a joins
         a > e0 %( { 00 } ) ^( 00 ) // 32 { \"{T}\" 0001 % 'x' }
         a closed",
    ),
    case(
        "",
        "3.14.2-1 4.13.1-1",
        On::Both,
        "a DISCONNECT with a reason that it cannot have ends the connection as an error",
        "a joins
         a > e0 { 01 }
         a refused 81|82
         a joins
         a > e0 { 8b }
         a refused 81|82",
    ),
    case(
        "",
        "3.14.2-2 3.14.2-3",
        On::Both,
        "DISCONNECT from the server has no session expiry",
        "a joins kept
         stop
         a < e0 { 8b < !11 > }
         a closed",
    ),
    case(
        "3.12.4-1",
        "3.12.4-1",
        On::Both,
        "PINGREQ is answered",
        "a joins
         a > c000 // c000
         a < d000
         a < d000
         a quiet",
    ),
    case(
        "7.1.1-1",
        "4.2.0-1",
        On::Open,
        "packets are found wherever the stream is cut",
        "a joins
         a > c0
         a > 00 // 32
         a > 07 // [ 't' ]
         a > 0001
         a > ^( 'xy' ) % %( 'x' ) // c0
         a > 00
         a <* d000 // 40 { 0001 } // d000",
    ),
    case(
        "4.4.0-1 3.1.4-2",
        "4.4.0-1 3.1.4-3 3.3.1-1",
        On::Both,
        "what is in flight comes again to a connection that takes over",
        "a joins kept
         a > 82 { 0001 % \"{F}\" 01 }
         a < 90 { 0001 % 01 }
         a > 32 { \"{T}\" 0001 % 'x' }
         a <* 40 { 0001 } // 32 { [ .. ] =x %( < > ) 'x' }
         a2 rejoins
         a refused 8e
         a2 < 3a { [ .. ] =x %( < > ) 'x' }",
    ),
    case(
        "",
        "4.1.0-1 3.3.1-13 3.8.3-3 3.3.4-3",
        On::Open,
        "how a subscription was asked for is kept with the session",
        "a joins kept
         a > 82 { 0001 { 0b 07 } \"t\" 0d }
         a < 90 { 0001 00 01 }
         stop
         a refused 8b
         start
         a rejoins
         a > 31 { \"t\" 00 'own' }
         a quiet
         b joins
         b > 31 { \"t\" 00 'x' } // 30 { \"t\" 00 'y' }
         a < 31 { \"t\" { 0b 07 } 'x' }
         a < 30 { \"t\" { 0b 07 } 'y' }",
    ),
    case(
        "",
        "3.4.2.2 4.3.2-3",
        On::Both,
        "an acknowledgement may have words for people",
        "a joins kept
         a > 82 { 0001 00 \"{F}\" 01 }
         a < 90 { 0001 00 01 }
         a > 32 { \"{T}\" 0001 00 'x' }
         a <* 40 { 0001 } // 32 { [ .. ] =x < > 'x' }
         a > 40 { =x 00 { 1f \"fine\" 26 \"a\" \"b\" } } // c000
         a < d000
         a drops
         a rejoins
         a quiet",
    ),
    case(
        "",
        "3.14.2-1 3.14.2.2",
        On::Both,
        "a DISCONNECT may have words for people, and no server to go to",
        "a joins
         a > e0 { 00 { 1f \"bye\" 26 \"a\" \"b\" } }
         a closed
         a joins
         a > e0 { 00 { 1c \"elsewhere\" } }
         a refused 81|82",
    ),
    case(
        "3.14.4 4.5.0-1",
        "3.14.4 4.5.0-1",
        On::Open,
        "what came before a DISCONNECT in one go is published",
        "b joins
         b > 82 { 0001 % \"t\" 01 }
         b < 90 { 0001 % 01 }
         a joins
         a > 30 { \"t\" % 'x' } // 32 { \"t\" 0001 % 'y' } // 34 { \"t\" 0002 % 'z' } // e000
         a gone
         b < 30 { \"t\" % 'x' }
         b < 32 { \"t\" =y % 'y' }
         b < 32 { \"t\" =z % 'z' }",
    ),
    case(
        "4.3.3-2",
        "4.3.3-10 4.13.1-1",
        On::Open,
        "a message of QoS 2 that came together with what ends the connection is published once",
        "b joins
         b > 82 { 0001 % \"t\" 00 }
         b < 90 { 0001 % 00 }
         a joins kept
         a > 34 { \"t\" 0007 % 'x' } // 36 { \"t\" 0008 % 'y' }
         a gone
         a rejoins
         a > 3c { \"t\" 0007 % 'x' }
         a < 50 { 0007 }
         a > 62 { 0007 }
         a < 70 { 0007 }
         b < 30 { \"t\" % 'x' }
         b quiet",
    ),
    case(
        "4.3.3-2",
        "4.3.3-8 4.13.2-1",
        On::Open,
        "a message of QoS 2 that was refused is refused again, and not taken for one that came",
        "a joins kept
         a > 34 { \"t\" 0007 % 61*150000 }
         a refused 95
         a rejoins
         a > 3c { \"t\" 0007 % 61*150000 }
         a refused 95
         a rejoins
         a > 35 { \"t\" 0007 % 61*150000 }
         a refused 95
         a rejoins
         a > 3d { \"t\" 0007 % 61*150000 }
         a refused 95",
    ),
    case(
        "3.14.4 4.5.0-1",
        "3.14.4 4.5.0-1",
        On::Both,
        "what came before a DISCONNECT is there for whoever comes back",
        "a joins kept
         a > 82 { 0001 % \"{F}\" 01 }
         a < 90 { 0001 % 01 }
         a > 32 { \"{T}\" 0001 % 'x' } // e000
         a gone
         a rejoins
         a < 32 { [ .. ] =x %( < > ) 'x' }",
    ),
];
