//! 3.1.2.5 to 3.1.2.7, 3.1.3.2 and 3.1.3.3: wills.

use crate::script::{Case, On, case};

pub const CASES: &[Case] = &[
    case(
        "3.1.2-8 3.1.2-16",
        "3.1.2-7 3.1.2-8 3.1.2-14",
        On::Open,
        "the will of a client whose connection is lost is published, and not retained",
        "b joins
         b > 82 { 0001 % \"t\" 01 }
         b < 90 { 0001 % 01 }
         a > 10 { \"MQTT\" ^(04) %(05) 0e 0000 % \"a\" % \"t\" [ 'gone' ] }
         a < 20 { 00 00 .. }
         a quiet
         a drops
         b < 32 { \"t\" =p % 'gone' }
         c joins
         c > 82 { 0001 % \"t\" 01 }
         c < 90 { 0001 % 01 }
         c quiet",
    ),
    case(
        "3.1.2-17",
        "3.1.2-15",
        On::Open,
        "a will to be retained is",
        "b joins
         b > 82 { 0001 % \"t\" 00 }
         b < 90 { 0001 % 00 }
         a > 10 { \"MQTT\" ^(04) %(05) 26 0000 % \"a\" % \"t\" [ 'gone' ] }
         a < 20 { 00 00 .. }
         a drops
         b < 30 { \"t\" % 'gone' }
         c joins
         c > 82 { 0001 % \"t\" 01 }
         c < 90 { 0001 % 01 }
         c < 31 { \"t\" % 'gone' }",
    ),
    case(
        "3.1.2-8",
        "3.1.2-8 4.13.1-1",
        On::Open,
        "the will of a client that breaks the protocol is published",
        "b joins
         b > 82 { 0001 % \"t\" 00 }
         b < 90 { 0001 % 00 }
         a > 10 { \"MQTT\" ^(04) %(05) 06 0000 % \"a\" % \"t\" [ 'gone' ] }
         a < 20 { 00 00 .. }
         a > 36 { \"t\" 0001 % 'x' }
         a refused 81
         b < 30 { \"t\" % 'gone' }",
    ),
    case(
        "3.1.2-8",
        "3.1.2-8",
        On::Open,
        "the will of a client that is taken over is published",
        "b joins
         b > 82 { 0001 % \"t\" 00 }
         b < 90 { 0001 % 00 }
         a > 10 { \"MQTT\" ^(04) %(05) 06 0000 % \"a\" % \"t\" [ 'gone' ] }
         a < 20 { 00 00 .. }
         a2 joins
         a refused 8e
         b < 30 { \"t\" % 'gone' }
         b quiet",
    ),
    case(
        "3.1.2-10 3.14.4-3",
        "3.1.2-8 3.1.2-10 3.14.4-3",
        On::Open,
        "the will of a client that goes orderly is never published",
        "b joins
         b > 82 { 0001 % \"t\" 00 }
         b < 90 { 0001 % 00 }
         a > 10 { \"MQTT\" ^(04) %(05) 06 0000 % \"a\" % \"t\" [ 'gone' ] }
         a < 20 { 00 00 .. }
         a leaves
         b quiet
         a joins
         a drops
         b quiet",
    ),
    case(
        "",
        "3.1.2-8 3.1.2-10 3.14.2-1",
        On::Open,
        "a client that goes may ask for its will to be published",
        "b joins
         b > 82 { 0001 00 \"t\" 00 }
         b < 90 { 0001 00 00 }
         a > 10 { \"MQTT\" 05 06 0000 00 \"a\" 00 \"t\" [ 'gone' ] }
         a < 20 { 00 00 .. }
         a > e0 { 04 }
         a closed
         b < 30 { \"t\" 00 'gone' }
         a joins
         a drops
         b quiet",
    ),
    case(
        "3.1.2-12",
        "3.1.2-8",
        On::Open,
        "without a will nothing is published; that of an earlier connection is not that of the next",
        "b joins
         b > 82 { 0001 % \"#\" 00 }
         b < 90 { 0001 % 00 }
         a > 10 { \"MQTT\" ^(04) %(05) 04 0000 %( { 11 00000064 } ) \"a\" % \"t\" [ 'gone' ] }
         a < 20 { 00 00 .. }
         a > e000
         a closed
         a rejoins
         a drops
         b quiet",
    ),
    case(
        "3.1.2-10",
        "3.1.2-10",
        On::Open,
        "a will is published once",
        "b joins
         b > 82 { 0001 % \"t\" 00 }
         b < 90 { 0001 % 00 }
         a > 10 { \"MQTT\" ^(04) %(05) 04 0000 %( { 11 00000064 } ) \"a\" % \"t\" [ 'gone' ] }
         a < 20 { 00 00 .. }
         a drops
         b < 30 { \"t\" % 'gone' }
         a rejoins
         a drops
         b quiet",
    ),
    case(
        "",
        "3.1.3-10 3.3.2-4 3.3.2-15 3.3.2-16 3.3.2-18 3.3.2-20 3.3.2-6",
        On::Open,
        "a will is published with its properties, user properties in their order",
        "b joins
         b > 82 { 0001 00 \"t\" 00 }
         b < 90 { 0001 00 00 }
         a > 10 { \"MQTT\" 05 06 0000 00 \"a\" { 01 01 02 0000000a 03 \"c\" 08 \"r\" 09 [ 00 ] 26 \"b\" \"1\" 26 \"a\" \"2\" 26 \"b\" \"0\" } \"t\" [ 'gone' ] }
         a < 20 { 00 00 .. }
         a drops
         b < 30 { \"t\" < 01 01, 02 0000000a, 03 \"c\", 08 \"r\", 09 [ 00 ], 26 \"b\" \"1\", 26 \"a\" \"2\", 26 \"b\" \"0\" > 'gone' }",
    ),
    case(
        "",
        "3.1.2-8 3.1.3.2.2",
        On::Open,
        "a will that is to wait waits",
        "b joins
         b > 82 { 0001 00 \"t\" 00 }
         b < 90 { 0001 00 00 }
         a > 10 { \"MQTT\" 05 06 0000 { 11 00000064 } \"a\" { 18 0000000a } \"t\" [ 'gone' ] }
         a < 20 { 00 00 .. }
         a drops
         b quiet
         clock 11
         k joins kept
         k drops
         b < 30 { \"t\" 00 'gone' }",
    ),
    case(
        "",
        "3.1.3-9",
        On::Open,
        "a will that waits is not published if its client is back before",
        "b joins
         b > 82 { 0001 00 \"t\" 00 }
         b < 90 { 0001 00 00 }
         a > 10 { \"MQTT\" 05 06 0000 { 11 00000064 } \"a\" { 18 0000000a } \"t\" [ 'gone' ] }
         a < 20 { 00 00 .. }
         a drops
         b quiet
         a rejoins
         clock 20
         a leaves
         c > 10 { \"MQTT\" 05 06 0000 { 11 00000064 } \"c\" { 18 00000001 } \"t\" [ 'another' ] }
         c < 20 { 00 00 .. }
         c drops
         b quiet
         clock 5
         k joins kept
         k drops
         b < 30 { \"t\" 00 'another' }
         b quiet",
    ),
    case(
        "",
        "3.1.2-8 3.1.3.2.2",
        On::Open,
        "a will waits no longer than its session",
        "b joins
         b > 82 { 0001 00 \"t\" 00 }
         b < 90 { 0001 00 00 }
         a > 10 { \"MQTT\" 05 06 0000 00 \"a\" { 18 00000064 } \"t\" [ 'one' ] }
         a < 20 { 00 00 .. }
         a drops
         b < 30 { \"t\" 00 'one' }
         a > 10 { \"MQTT\" 05 06 0000 { 11 00000064 } \"a\" { 18 000003e8 } \"t\" [ 'two' ] }
         a < 20 { 00 00 .. }
         a drops
         a joins
         b < 30 { \"t\" 00 'two' }",
    ),
    case(
        "3.1.2-8",
        "3.1.2-7 3.1.2-8",
        On::Open,
        "wills are published when the server stops without their clients, at the latest when it is back",
        "b joins kept
         b > 82 { 0001 % \"t\" 01 }
         b < 90 { 0001 % 01 }
         b leaves
         a > 10 { \"MQTT\" ^(04) %(05) 0e 0000 % \"a\" % \"t\" [ 'gone' ] }
         a < 20 { 00 00 .. }
         stop
         a refused 8b
         start
         b rejoins
         b < 32 { \"t\" =p % 'gone' }",
    ),
    case(
        "3.1.4 3.2.2-5",
        "3.1.2.5 3.2.2-7",
        On::Open,
        "a will that no rule allows is refused",
        "a > 10 { \"MQTT\" ^(04) %(05) 06 0000 % \"a\" % \"$closed/x\" [ 'gone' ] }
         a rejected 87 05",
    ),
    case(
        "4.7.1-1 3.1.4-1",
        "4.7.0-1 3.1.4-1",
        On::Both,
        "the topic of a will has no wildcard, and is not empty",
        "a > 10 { \"MQTT\" ^(04) %(05) 06 0000 % \"{ID}\" % \"t/#\" [] }
         a rejected 81|82|90 -
         b > 10 { \"MQTT\" ^(04) %(05) 06 0000 % \"{ID}\" % \"\" [] }
         b rejected 81|82|90 -",
    ),
    case(
        "3.1.3.3",
        "3.1.3.4",
        On::Open,
        "the body of a will may be empty, and any bytes",
        "b joins
         b > 82 { 0001 % \"t\" 00 }
         b < 90 { 0001 % 00 }
         a > 10 { \"MQTT\" ^(04) %(05) 06 0000 % \"a\" % \"t\" [] }
         a < 20 { 00 00 .. }
         a drops
         b < 30 { \"t\" % }
         a > 10 { \"MQTT\" ^(04) %(05) 06 0000 % \"a\" % \"t\" [ 00ffc0 ] }
         a < 20 { 00 00 .. }
         a drops
         b < 30 { \"t\" % 00ffc0 }",
    ),
];
