//! Statements of SQL, as far as a text tells them without a server.

/// Whether a statement goes to the server: what begins with a backslash is a command to psql, which may start programs and connect to
/// other servers.
///
/// # Errors
/// What was received, and what is allowed.
pub(crate) fn sql(statement: &str) -> Result<(), String> {
    if statement.trim_start().starts_with('\\') {
        return Err(format!(
            "`{statement}`: a command to psql; only SQL is allowed"
        ));
    }
    Ok(())
}

/// Whether it is one statement alone: a second one could leave the transaction that cannot write.
///
/// # Errors
/// As [`sql`].
pub(crate) fn one(statement: &str) -> Result<(), String> {
    sql(statement)?;
    if statement.trim().trim_end_matches(';').contains(';') {
        return Err(format!(
            "`{statement}`: more than one statement; what is only read is one each, without `;` in it"
        ));
    }
    Ok(())
}
