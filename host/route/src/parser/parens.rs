//! Which `(` to blame when there are too few `)`.

use crate::lexer::{Tok, Token};

/// Indices of the parentheses of a condition that count as unclosed. Those of calls are closed
/// first, then the others from the left, so the last ones that open no call are blamed.
pub(super) fn unclosed(tokens: &[Token], first: usize) -> Vec<usize> {
    let mut plain = Vec::new();
    let (mut opened, mut closed) = (0usize, 0usize);
    for (i, token) in tokens.iter().enumerate().skip(first) {
        match token.kind {
            Tok::Open => {
                opened += 1;
                let call = i > first && tokens[i - 1].kind == Tok::Name;
                if !call {
                    plain.push(i);
                }
            }
            // What comes after one too many is no part of the condition.
            Tok::Close if closed == opened => break,
            Tok::Close => closed += 1,
            Tok::Into => break,
            _ => {}
        }
    }
    let missing = (opened - closed).min(plain.len());
    plain.split_off(plain.len() - missing)
}
