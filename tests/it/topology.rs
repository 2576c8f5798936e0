//! What a manifest may say, what is refused and with which words, and which components it becomes.

mod generated;
