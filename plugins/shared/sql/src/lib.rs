//! What SQL plugins share: quoting, statements, key-range splits.
