-- Announces that a row of a user has changed, to those who cache it: a trigger after each row.
-- The announcement, on channel cardbase_changes: two names and the transaction's id, with spaces between them. The
-- names are app.announcement_key of <table>:<tenant_id> and of <table>:<tenant_id>:<user_id>.
--
-- The table makes it, so that no writer can forget it, whatever function or statement it uses. NOTIFY takes a lock on
-- the whole database at commit, so this is for rows that change rarely.
create or replace function app.announce_change()
returns trigger
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    perform
        pg_notify(
            'cardbase_changes',
            concat_ws(
                ' ',
                app.announcement_key(concat_ws(':', tg_table_name, changed.tenant_id)),
                app.announcement_key(concat_ws(':', tg_table_name, changed.tenant_id, changed.user_id)),
                pg_current_xact_id()
            )
        )
    from (
        values
        (old.tenant_id, old.user_id),
        (new.tenant_id, new.user_id)
    ) as changed (tenant_id, user_id)
    where changed.tenant_id is not null;
    return null;
end;
$$;

comment on function app.announce_change() is
$$Announces that a row of a user has changed, to those who cache it.$$;
revoke all on function app.announce_change() from public;

create or replace trigger users_announced after insert or update or delete on app.users
for each row execute function app.announce_change();
create or replace trigger user_preferences_announced after insert or update or delete on app.user_preferences
for each row execute function app.announce_change();
