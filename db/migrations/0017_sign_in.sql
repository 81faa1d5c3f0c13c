-- Passwords are compared in the database, attempts are counted there by its own limits, and identifiers fold alike in
-- any locale. No version with the old functions was released: they go at once, and the files make the new ones.

drop function if exists api.begin_login(text, text, integer, integer);
drop function if exists api.begin_registration(text, integer);
drop function if exists api.start_session(uuid, uuid, text, text, bytea, integer);
drop function if exists app.count_attempts(text[], integer[], integer);
drop function if exists app.forgive_attempts(text, text);
drop function if exists app.find_credentials(text);

comment on table app.login_attempts is
'How often signing in failed: for an account, from a network, and for an account from a network; and registrations.';
comment on column app.login_attempts.subject is
'SHA-256 of what is counted: an account, known or not, a network, or both.';
