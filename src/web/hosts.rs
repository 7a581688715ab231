//! Under which names this server is spoken to, and from which web pages: what keeps a page in somebody's browser from
//! speaking to it unasked.
