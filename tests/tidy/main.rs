//! What review would otherwise have to remember: layout, budgets, dependency arrows, documents that
//! name what exists.

mod documents;
mod files;
mod manifests;
mod repository;
