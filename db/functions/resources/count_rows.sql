-- app.count_rows_of_memories, of_conversations, of_messages, of_tasks, of_integrations: count what a statement added to
-- their table or took away, by app.resource_group. Triggers after each statement, whose rows are called added and
-- removed. A row that is marked as deleted no longer counts.
--
-- The table does it, so that no writer can forget it, and in the writer's transaction, so that whoever sees the rows
-- sees their total. The functions run as the writer, under the same policies. They are generated from one text, with
-- the table's names in it, here and not when they are called, so that a session keeps their plans.
do $do$
declare
    _table text;
    _function text;
    _event record;
begin
    foreach _table in array array['memories', 'conversations', 'messages', 'tasks', 'integrations'] loop
        _function := format('count_rows_of_%s', _table);
        execute format(
            $sql$
create or replace function app.%1$I()
returns trigger
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $function$
declare
    _group record;
begin
    -- A loop, because a writer that changes no total may have no right to.
    if tg_op = 'INSERT' then
        for _group in
            select tenant_id, user_id, %3$s as name, count(*) as change
            from added
            where deleted_at is null
            group by tenant_id, user_id, %3$s
        loop
            perform app.add_to_total(_group.tenant_id, _group.user_id, %2$L, _group.name, _group.change);
        end loop;
    elsif tg_op = 'DELETE' then
        for _group in
            select tenant_id, user_id, %3$s as name, - count(*) as change
            from removed
            where deleted_at is null
            group by tenant_id, user_id, %3$s
        loop
            perform app.add_to_total(_group.tenant_id, _group.user_id, %2$L, _group.name, _group.change);
        end loop;
    else
        for _group in
            select counted.tenant_id, counted.user_id, counted.name, sum(counted.change)::bigint as change
            from (
                select tenant_id, user_id, %3$s as name, 1 as change
                from added
                where deleted_at is null
                union all
                select tenant_id, user_id, %3$s, -1
                from removed
                where deleted_at is null
            ) as counted
            group by counted.tenant_id, counted.user_id, counted.name
            having sum(counted.change) <> 0
        loop
            perform app.add_to_total(_group.tenant_id, _group.user_id, %2$L, _group.name, _group.change);
        end loop;
    end if;
    return null;
end;
$function$
            $sql$,
            _function,
            _table,
            coalesce(quote_ident(app.resource_group(_table)) || '::text', quote_literal('') || '::text')
        );
        execute format('comment on function app.%I() is %L', _function, format('Counts the rows of %s.', _table));
        execute format('revoke all on function app.%I() from public', _function);

        for _event in
            select
                event.name,
                event.rows
            from (
                values
                ('insert', 'new table as added'),
                ('update', 'new table as added old table as removed'),
                ('delete', 'old table as removed')
            ) as event (name, rows)
        loop
            execute format(
                'create or replace trigger %I after %s on app.%I referencing %s for each statement execute function app.%I()',
                format('%s_counted_on_%s', _table, _event.name),
                _event.name,
                _table,
                _event.rows,
                _function
            );
        end loop;
    end loop;
end;
$do$;
