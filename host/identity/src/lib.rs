//! Who may connect: identities, keys, tokens, certificates, and what modules ask of them.
