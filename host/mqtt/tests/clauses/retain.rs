//! 3.3.1.3 and 3.8.3.1: retained messages.

use crate::script::{Case, On, case};

pub const CASES: &[Case] = &[
    case(
        "3.3.1-5 3.3.1-6 3.3.1-8",
        "3.3.1-5 3.3.1-9",
        On::Open,
        "the last message that is to be retained comes to new subscriptions, with the flag",
        "a joins
         a > 33 { \"t/1\" 0001 % 'old' } // 33 { \"t/1\" 0002 % 'new' } // 33 { \"t/2\" 0003 % 'other' }
         a < 40 { 0001 }
         a < 40 { 0002 }
         a < 40 { 0003 }
         a leaves
         b joins
         b > 82 { 0001 % \"t/#\" 01 }
         b < 90 { 0001 % 01 }
         b <* 33 { \"t/1\" =p %( < > ) 'new' } // 33 { \"t/2\" =q %( < > ) 'other' }
         b quiet",
    ),
    case(
        "3.3.1-7",
        "3.3.1-5",
        On::Open,
        "a message of QoS 0 takes the place of the one that was retained, and is then sent with QoS 0",
        "a joins
         a > 33 { \"t\" 0001 % 'old' }
         a < 40 { 0001 }
         a > 31 { \"t\" % 'new' }
         a quiet
         b joins
         b > 82 { 0001 % \"t\" 01 }
         b < 90 { 0001 % 01 }
         b < 31 { \"t\" % 'new' }
         b quiet",
    ),
    case(
        "3.3.1-9",
        "3.3.1-12",
        On::Open,
        "who was subscribed already gets it without the flag",
        "b joins
         b > 82 { 0001 % \"t\" 00 }
         b < 90 { 0001 % 00 }
         a joins
         a > 31 { \"t\" % 'x' }
         b < 30 { \"t\" % 'x' }",
    ),
    case(
        "",
        "3.3.1-13",
        On::Open,
        "who asked for the flag as it was published gets it so",
        "b joins
         b > 82 { 0001 00 \"t\" 08 }
         b < 90 { 0001 00 00 }
         a joins
         a > 31 { \"t\" 00 'x' } // 30 { \"t\" 00 'y' }
         b < 31 { \"t\" 00 'x' }
         b < 30 { \"t\" 00 'y' }",
    ),
    case(
        "3.3.1-10 3.3.1-11",
        "3.3.1-6 3.3.1-7",
        On::Open,
        "an empty message takes away what was retained, is delivered like others, and is not retained",
        "b joins
         b > 82 { 0001 % \"t\" 00 }
         b < 90 { 0001 % 00 }
         a joins
         a > 31 { \"t\" % 'x' }
         b < 30 { \"t\" % 'x' }
         a > 31 { \"t\" % }
         b < 30 { \"t\" % }
         c joins
         c > 82 { 0001 % \"t\" 00 }
         c < 90 { 0001 % 00 }
         c quiet
         a > 31 { \"new\" % }
         c > 82 { 0001 % \"new\" 00 }
         c < 90 { 0001 % 00 }
         c quiet",
    ),
    case(
        "3.3.1-12",
        "3.3.1-8",
        On::Open,
        "a message without the flag neither is retained nor touches what is",
        "a joins
         a > 31 { \"t\" % 'x' } // 30 { \"t\" % 'y' } // 30 { \"t\" % } // 30 { \"u\" % 'z' }
         a quiet
         b joins
         b > 82 { 0001 % \"#\" 00 }
         b < 90 { 0001 % 00 }
         b < 31 { \"t\" %( < > ) 'x' }
         b quiet",
    ),
    case(
        "3.1.2-7",
        "4.1",
        On::Open,
        "retained messages stay when the session of their publisher ends, and after a restart",
        "a joins
         a > 33 { \"t\" 0001 % 'x' }
         a < 40 { 0001 }
         a leaves
         stop
         start
         b joins
         b > 82 { 0001 % \"t\" 00 }
         b < 90 { 0001 % 00 }
         b < 31 { \"t\" %( < > ) 'x' }",
    ),
    case(
        "3.8.4-3 3.3.1-6",
        "3.3.1-9 3.8.4-3 3.8.4-4",
        On::Open,
        "what is retained comes again to a subscription that is made again",
        "a joins
         a > 31 { \"t\" % 'x' }
         a quiet
         a > 82 { 0001 % \"t\" 00 }
         a < 90 { 0001 % 00 }
         a < 31 { \"t\" %( < > ) 'x' }
         a > 82 { 0002 % \"t\" 01 }
         a < 90 { 0002 % 01 }
         a < 31 { \"t\" %( < > ) 'x' }
         a > 32 { \"t\" 0001 % 'y' }
         a <* 40 { 0001 } // 32 { \"t\" =p % 'y' }
         a quiet",
    ),
    case(
        "",
        "3.3.1-10 3.3.1-11",
        On::Open,
        "what is retained comes to new subscriptions only, or to none, if they ask for that",
        "a joins
         a > 31 { \"t\" 00 'x' }
         a quiet
         a > 82 { 0001 00 \"t\" 20 }
         a < 90 { 0001 00 00 }
         a quiet
         a > 82 { 0002 00 \"t\" 10 }
         a < 90 { 0002 00 00 }
         a quiet
         b joins
         b > 82 { 0001 00 \"t\" 10 }
         b < 90 { 0001 00 00 }
         b < 31 { \"t\" 00 'x' }
         b > 82 { 0002 00 \"t\" 10 }
         b < 90 { 0002 00 00 }
         b quiet",
    ),
    case(
        "",
        "3.8.3.1 4.13.1-1",
        On::Both,
        "retain handling 3 ends the connection",
        "a joins
         a > 82 { 0001 00 \"{F}\" 30 }
         a refused 81|82",
    ),
    case(
        "",
        "3.3.2-5 3.3.2-6",
        On::Open,
        "what is retained expires like other messages",
        "a joins
         a > 31 { \"t/1\" { 02 0000000a } 'x' } // 31 { \"t/2\" { 02 00000064 } 'y' }
         a quiet
         clock 20
         b joins
         b > 82 { 0001 00 \"t/#\" 00 }
         b < 90 { 0001 00 00 }
         b < 31 { \"t/2\" < 02 00000050 > 'y' }
         b quiet",
    ),
    case(
        "",
        "3.3.4-3 3.3.2-4 3.3.2-15 3.3.2-16 3.3.2-17 3.3.2-18 3.3.2-20",
        On::Open,
        "what is retained comes with its properties and the identifier of the subscription",
        "a joins
         a > 31 { \"t\" { 01 01 03 \"c\" 08 \"r\" 09 [ 00 ] 26 \"b\" \"1\" 26 \"a\" \"2\" 26 \"b\" \"0\" } 'x' }
         a quiet
         b joins
         b > 82 { 0001 { 0b 07 } \"t\" 00 }
         b < 90 { 0001 00 00 }
         b < 31 { \"t\" < 01 01, 03 \"c\", 08 \"r\", 09 [ 00 ], 26 \"b\" \"1\", 26 \"a\" \"2\", 26 \"b\" \"0\", 0b 07 > 'x' }",
    ),
    case(
        "4.7.2-1",
        "4.7.2-1",
        On::Open,
        "what is retained under $ does not come to filters that begin with a wildcard",
        "a joins
         a > 31 { \"$open/t\" % 'x' }
         a quiet
         a > 82 { 0001 % \"#\" 00 }
         a < 90 { 0001 % 00 }
         a quiet
         a > 82 { 0002 % \"$open/#\" 00 }
         a < 90 { 0002 % 00 }
         a < 31 { \"$open/t\" %( < > ) 'x' }",
    ),
];
