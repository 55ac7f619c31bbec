//! 3.1.2.10, 3.1.2.11 and 4.9: what client and server say that they take, and silence.

use std::time::{Duration, Instant};

use edge_mqtt::packet::Version;

use crate::script::{Case, On, Stage, case};
use crate::world::Site;

pub const CASES: &[Case] = &[
    case(
        "",
        "3.3.4-9 3.3.4-10 4.9.0-1 4.9.0-2 4.9.0-3",
        On::Both,
        "no more messages are in flight than the client takes; all else goes on",
        "a > 10 { \"MQTT\" 05 c2 0000 { 21 0002 } \"{ID}\" \"{USER}\" \"{PASSWORD}\" }
         a < 20 { 00 00 .. }
         a > 82 { 0001 00 \"{F}\" 01 }
         a < 90 { 0001 00 01 }
         a > 32 { \"{T}\" 0011 00 '1' } // 32 { \"{T}\" 0012 00 '2' } // 32 { \"{T}\" 0013 00 '3' } // 32 { \"{T}\" 0014 00 '4' }
         a <* 40 { 0011 } // 40 { 0012 } // 40 { 0013 } // 40 { 0014 } // 32 { [ .. ] =a < > '1' } // 32 { [ .. ] =b < > '2' }
         a quiet
         a > 32 { \"{T}\" 0001 00 '5' }
         a < 40 { 0001 }
         a > 82 { 0002 00 \"{F}\" 01 }
         a < 90 { 0002 00 01 }
         a > 40 { =b }
         a < 32 { [ .. ] =c < > '3' }
         a quiet
         a > 40 { =a }
         a < 32 { [ .. ] =d < > '4' }
         a quiet
         a > 40 { =c } // 40 { =d }
         a < 32 { [ .. ] =e < > '5' }",
    ),
    case(
        "",
        "3.3.4-9 4.9.0-1",
        On::Both,
        "what is in flight from an earlier connection counts",
        "a > 10 { \"MQTT\" 05 c0 0000 { 11 00000064 } \"{ID}\" \"{USER}\" \"{PASSWORD}\" }
         a < 20 { 00 00 .. }
         a > 82 { 0001 00 \"{F}\" 01 }
         a < 90 { 0001 00 01 }
         a > 32 { \"{T}\" 0011 00 '1' } // 32 { \"{T}\" 0012 00 '2' } // 32 { \"{T}\" 0013 00 '3' }
         a <* 40 { 0011 } // 40 { 0012 } // 40 { 0013 } // 32 { [ .. ] =a < > '1' } // 32 { [ .. ] =b < > '2' } // 32 { [ .. ] =c < > '3' }
         a drops
         a > 10 { \"MQTT\" 05 c0 0000 { 11 00000064 21 0001 } \"{ID}\" \"{USER}\" \"{PASSWORD}\" }
         a < 20 { 01 00 .. }
         a < 3a { [ .. ] =a < > '1' }
         a quiet
         a > 40 { =a }
         a < 3a { [ .. ] =b < > '2' }
         a quiet",
    ),
    case(
        "",
        "3.1.2-24 3.1.2-25",
        On::Both,
        "a message that is larger than the client takes is left out as if it had been sent",
        "a > 10 { \"MQTT\" 05 c2 0000 { 27 00000200 21 0001 } \"{ID}\" \"{USER}\" \"{PASSWORD}\" }
         a < 20 { 00 00 .. }
         a > 82 { 0001 00 \"{F}\" 01 }
         a < 90 { 0001 00 01 }
         a > 32 { \"{T}\" 0011 00 61*1024 } // 32 { \"{T}\" 0012 00 'x' }
         a <* 40 { 0011 } // 40 { 0012 } // 32 { [ .. ] =a < > 'x' }
         a quiet",
    ),
    case(
        "",
        "3.1.2-24",
        On::Open,
        "a message of just the size that the client takes comes, one of a byte more does not",
        "a > 10 { \"MQTT\" 05 02 0000 { 27 00000014 } \"a\" }
         a < 20 { 00 00 .. }
         a > 82 { 0001 00 \"t\" 00 }
         a < 90 { 0001 00 00 }
         a > 30 { \"t\" 00 61*15 } // 30 { \"t\" 00 61*14 }
         a < 30 { \"t\" 00 61*14 }
         a quiet",
    ),
    case(
        "",
        "3.2.2-19 3.2.2-20 3.14.2-3 3.14.2-4 3.1.2-24",
        On::Both,
        "what is said for people is left out where the client takes no packet of that size",
        "a > 10 { \"MQTT\" 05 c2 0000 { 27 00000032 } \"{ID}\" \"{USER}\" \"{PASSWORD}\" }
         a < 20 { 00 00 .. }
         a > 36 { \"{T}\" 0001 00 'x' }
         a < e0 { 81 .. }
         a closed
         b > 10 { \"MQTT\" 05 c2 0000 { 27 00000006 } \"{ID}\" \"{USER}\" \"bm90IGl0\" }
         b rejected",
    ),
    case(
        "",
        "3.1.2-29 3.4.2-2 3.4.2-3 3.5.2-2 3.5.2-3 3.7.2-2 3.7.2-3 3.9.2-1 3.9.2-2 3.11.2-1 3.11.2-2",
        On::Open,
        "answers have no words for people, and none of all is larger than the client takes",
        "a > 10 { \"MQTT\" 05 02 0000 { 17 00 27 00000014 } \"a\" }
         a < 20 { 00 00 .. }
         a > 82 { 0001 00 \"$closed/x\" 01 \"$share/g/x\" 01 }
         a < 90 { 0001 00 87 9e }
         a > a2 { 0002 00 \"t\" }
         a < b0 { 0002 00 11 }
         a > 32 { \"t\" 0003 00 'x' }
         a < 40 { 0003 }
         a > 34 { \"t\" 0003 00 'x' }
         a < 50 { 0003 }
         a > 62 { 0004 }
         a < 70 { 0004 92 }",
    ),
    case(
        "",
        "3.2.2-22",
        On::Both,
        "the client's keep-alive holds: CONNACK has no other",
        "a > 10 { \"MQTT\" 05 c2 003c 00 \"{ID}\" \"{USER}\" \"{PASSWORD}\" }
         a < 20 { 00 00 < !13 > }",
    ),
];

/// Of 3.1.1 and of 5: silence ends a connection.
pub const SILENCE: (&str, &str) = ("3.1.2-24 3.1.2-8", "3.1.2-22 3.1.2-8");

/// A client that is silent is closed after one and a half times its keep-alive of a second, and its will is
/// published.
pub async fn silence(site: Site, version: Version) -> Result<(), String> {
    let mut stage = Stage::new(site, version);
    if site == Site::Open {
        let watches = "b joins
             b > 82 { 0001 % \"t\" 00 }
             b < 90 { 0001 % 00 }";
        stage.run(watches).await?;
    }
    let hello = "a > 10 { \"MQTT\" ^(04) %(05) c6 0001 % \"{ID}\" % \"t\" [ 'gone' ] \"{USER}\" \"{PASSWORD}\" }
         a < 20 { 00 00 .. }";
    stage.run(hello).await?;
    let start = Instant::now();
    let silent = "a > c000
         a < d000
         a refused 8d";
    stage.run(silent).await?;
    match start.elapsed() {
        early if early < Duration::from_millis(1_500) => Err(format!("closed after {early:?}")),
        _ if site == Site::Open => stage.run("b < 30 { \"t\" % 'gone' }").await,
        _ => Ok(()),
    }
}

/// Somebody for whom messages are stored: one that nobody gets is answered at once.
async fn asleep(stage: &mut Stage, site: Site) -> Result<(), String> {
    let sleeper = "b joins kept
         b > 82 { 0001 % \"t/#\" 01 }
         b < 90 { 0001 % 01 }
         b leaves";
    match site {
        Site::Open => stage.run(sleeper).await,
        Site::Sdk => Ok(()),
    }
}

/// Of 3.1.1 and of 5: an answer says that the server has the message now.
pub const OWNERSHIP: (&str, &str) = ("4.3.2-2", "4.3.2-4");

/// A message is acknowledged when it is on the device, and not before.
pub async fn ownership(site: Site, version: Version) -> Result<(), String> {
    let mut stage = Stage::new(site, version);
    asleep(&mut stage, site).await?;
    stage.run("a joins").await?;
    stage.world.log.hold();
    let waits = "a > 32 { \"{T}\" 0001 % 'x' } // 32 { \"{T}\" 0002 % 'y' }
         a quiet";
    stage.run(waits).await?;
    stage.world.log.release();
    let comes = "a < 40 { 0001 }
         a < 40 { 0002 }";
    stage.run(comes).await
}

/// Of 5: a client keeps to what CONNACK says of messages that are not answered.
pub const EXCESS: (&str, &str) = ("", "3.3.4-7 4.13.1-1");

/// A client of 5 that has more messages unanswered than CONNACK says is closed; 3.1.1 has no such number.
pub async fn excess(site: Site, version: Version) -> Result<(), String> {
    let mut stage = Stage::new(site, version);
    asleep(&mut stage, site).await?;
    let hello = "a > 10 { \"MQTT\" ^(04) %(05) c2 0000 % \"{ID}\" \"{USER}\" \"{PASSWORD}\" }
         a < 20 { 00 00 %( < 21 0400 > ) }";
    stage.run(hello).await?;
    let publish = |id: u16| format!("a > 32 {{ \"{{T}}\" {id:04x} % 'x' }}");
    stage.world.log.hold();
    for id in 1..=1_024 {
        stage.run(&publish(id)).await?;
    }
    stage.run("a quiet").await?;
    stage.run(&publish(1_025)).await?;
    if version == Version::V5 {
        return stage.run("a refused 93").await;
    }
    stage.run("a quiet").await?;
    stage.world.log.release();
    for id in 1..=1_025 {
        stage.run(&format!("a < 40 {{ {id:04x} }}")).await?;
    }
    Ok(())
}
