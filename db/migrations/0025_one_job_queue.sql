-- Migration 0016 was edited after it had been applied. This makes a database that took its first text the same as one
-- that took the present one; where nothing differs, it changes nothing.
do $do$
begin
    if to_regclass('app.announcement_secret') is not null then
        return;
    end if;

    create table app.announcement_secret (
        tenant_id uuid not null default '00000000-0000-0000-0000-000000000000',
        secret bytea not null,
        constraint announcement_secret_pkey primary key (tenant_id),
        constraint announcement_secret_tenant_id_check check (tenant_id = '00000000-0000-0000-0000-000000000000')
    );
    comment on table app.announcement_secret is 'One row: the key of the names in announcements (app.announcement_key).';
    insert into app.announcement_secret (secret)
    values (uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()));
end;
$do$;

-- It returns another column now; the files that come after make it.
drop function if exists app.find_ended_jobs(uuid, jsonb);

-- Narrowed without a migration: the policies' files grant what is left.
revoke select (tenant_id) on table app.pending_jobs from cardbase_maintenance;
revoke update on table app.dispatch_turn from cardbase_dispatcher;
