//! The notation is judged before it judges.

use super::*;

#[test]
fn frames_are_written_as_the_specification_shows_them() {
    let bytes = |text| Frame::parse(text, Version::V5).bytes(&Ids::new());
    // 3.3.2.4 of 3.1.1: topic "a/b", packet id 10.
    assert_eq!(
        bytes("32 { \"a/b\" 000a }"),
        [0x32, 7, 0, 3, 97, 47, 98, 0, 10]
    );
    assert_eq!(bytes("'ab' 00*3 [ 'c' ]"), [97, 98, 0, 0, 0, 0, 1, 99]);
    assert_eq!(bytes("{ 61*321 }")[..2], [0xc1, 2]);
    assert_eq!(bytes("c0 % ^(01) %(02)"), [0xc0, 0, 2]);
    let three = Frame::parse("c0 % ^(01) %(02)", Version::V3);
    assert_eq!(three.bytes(&Ids::new()), [0xc0, 1]);
}

#[test]
fn what_is_expected_matches_that_and_nothing_else() {
    let mut ids = Ids::new();
    let mut is = |text, bytes: &[u8]| Frame::parse(text, Version::V5).is(bytes, &mut ids);
    assert!(is(
        "20 { 00 00 < 24 01, !12 > }",
        &[0x20, 8, 0, 0, 5, 0x21, 0, 9, 0x24, 1]
    ));
    assert!(is(
        "20 { 00 00 < 21 .. > }",
        &[0x20, 8, 0, 0, 5, 0x21, 0, 9, 0x24, 1]
    ));
    assert!(!is(
        "20 { 00 00 < 12 .. > }",
        &[0x20, 8, 0, 0, 5, 0x21, 0, 9, 0x24, 1]
    ));
    assert!(!is(
        "20 { 00 00 < 24 00 > }",
        &[0x20, 8, 0, 0, 5, 0x21, 0, 9, 0x24, 1]
    ));
    assert!(!is(
        "20 { 00 00 < !24 > }",
        &[0x20, 8, 0, 0, 5, 0x21, 0, 9, 0x24, 1]
    ));
    assert!(is("40 { =p }", &[0x40, 2, 0, 7]));
    assert!(!is("40 { =p }", &[0x40, 2, 0, 8]));
    assert!(!is("40 { =q }", &[0x40, 2, 0, 7]));
    assert!(is("40 { =q .. }", &[0x40, 3, 0, 8, 0]));
    assert!(!is("40 { ? }", &[0x40, 2, 0, 8]));
    let ordered = |text| {
        let bytes = [10, 0x26, 0, 1, 97, 0, 0, 0x0b, 1, 0x0b, 2];
        Frame::parse(text, Version::V5).is(&bytes, &mut Ids::new())
    };
    assert!(ordered("< 0b01, 0b02, 26 \"a\" \"\" >"));
    assert!(!ordered("< 0b02, 0b01 >"));
}
