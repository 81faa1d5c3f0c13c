-- Records what a statement did to a tenant's rows, if somebody listens to the tenant: a trigger after each statement,
-- whose new rows are called changed.
--   1st argument   what a row is, such as card
--   2nd argument   the column of its id
--   3rd argument   an expression over changed: the user who alone gets the event; null: everybody does
--   4th argument   an expression over changed: the event's data, jsonb: ids and states, never content
-- An insert is <row>.created; an update <row>.updated, or <row>.deleted once deleted_at is set.
-- It runs as the writer, so under the same policies, and for one tenant at a time.
--
-- Without listeners it costs one look at a small table. Listeners are notified by NOTIFY, which takes a lock on the
-- whole database at commit, and only where there are any.
create or replace function app.record_events()
returns trigger
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    _recorded bigint;
begin
    if not app.has_listeners() then
        return null;
    end if;

    execute format(
        $sql$
        insert into app.events (tenant_id, user_id, event_type, resource_id, data)
        select
            changed.tenant_id,
            %3$s,
            concat(
                %1$L,
                case when %5$L = 'INSERT' then '.created' when changed.deleted_at is null then '.updated' else '.deleted' end
            ),
            changed.%2$I,
            %4$s
        from changed
        $sql$,
        tg_argv[0],
        tg_argv[1],
        tg_argv[2],
        tg_argv[3],
        tg_op
    );

    -- "execute" does not set found.
    get diagnostics _recorded = row_count;
    if _recorded > 0 then
        perform pg_notify('cardbase_events', app.announcement_key('events:' || app.current_tenant_id()));
    end if;
    return null;
end;
$$;

comment on function app.record_events() is
$$Records what a statement did to a tenant's rows, if somebody listens to the tenant.$$;
revoke all on function app.record_events() from public;
grant execute on function app.record_events() to cardbase_api;

do $do$
declare
    _table record;
begin
    for _table in
        select *
        from (
            values
            ('cards', 'card', 'card_id', 'null::uuid', 'jsonb_build_object(''card_type'', changed.card_type)'),
            ('memories', 'memory', 'id', 'changed.user_id', '''{}''::jsonb'),
            (
                'messages',
                'message',
                'id',
                'changed.user_id',
                'jsonb_build_object(''conversation_id'', changed.conversation_id, ''position'', changed.position)'
            ),
            ('tasks', 'task', 'id', 'changed.user_id', 'jsonb_build_object(''status'', changed.status)')
        ) as listed (table_name, resource, key, owner, data)
    loop
        -- Two, as one trigger with transition tables can't be for both.
        execute format(
            'create or replace trigger %1$s_inserted after insert on app.%1$I referencing new table as changed '
            'for each statement execute function app.record_events(%2$L, %3$L, %4$L, %5$L)',
            _table.table_name, _table.resource, _table.key, _table.owner, _table.data
        );
        execute format(
            'create or replace trigger %1$s_updated after update on app.%1$I referencing new table as changed '
            'for each statement execute function app.record_events(%2$L, %3$L, %4$L, %5$L)',
            _table.table_name, _table.resource, _table.key, _table.owner, _table.data
        );
    end loop;
end;
$do$;
