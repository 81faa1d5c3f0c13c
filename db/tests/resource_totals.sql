begin;
\ir helpers/tests.psql
select plan(14);

create function tests.ann()
returns uuid
language sql
immutable
return 'aaaaaaaa-0000-0000-0000-00000000000a'::uuid;
create function tests.ben()
returns uuid
language sql
immutable
return 'aaaaaaaa-0000-0000-0000-00000000000b'::uuid;

-- Totals that are not what there is to count
create function tests.wrong_totals()
returns setof text
language sql
stable
begin atomic
    select concat_ws(' ', both_sides.table_name, both_sides.group_name, sum(both_sides.change))
    from (
        select
            tenant_id,
            user_id,
            table_name,
            group_name,
            total as change
        from app.resource_totals
        union all
        select
            tenant_id,
            user_id,
            'memories',
            memory_type,
            -1
        from app.memories
        where deleted_at is null
        union all
        select
            tenant_id,
            user_id,
            'conversations',
            '',
            -1
        from app.conversations
        where deleted_at is null
        union all
        select
            tenant_id,
            user_id,
            'messages',
            conversation_id::text,
            -1
        from app.messages
        where deleted_at is null
        union all
        select
            tenant_id,
            user_id,
            'tasks',
            status,
            -1
        from app.tasks
        where deleted_at is null
        union all
        select
            tenant_id,
            user_id,
            'integrations',
            provider,
            -1
        from app.integrations
        where deleted_at is null
    ) as both_sides
    group by both_sides.tenant_id, both_sides.user_id, both_sides.table_name, both_sides.group_name
    having sum(both_sides.change) <> 0;
end;
create function tests.total(reply api.reply)
returns integer
language sql
immutable
return ((total.reply).body -> 'meta' ->> 'total')::integer;
create function tests.id(reply api.reply)
returns uuid
language sql
immutable
return ((id.reply).body -> 'data' ->> 'id')::uuid;
grant execute on all functions in schema tests to public;

-- Through the functions
set local role cardbase_service;
select set_config(
    'tests.memory', tests.id(api.create_memory(tests.tenant('acme'), tests.ann(), 'one', 'fact'))::text, true
);
select api.create_memory(tests.tenant('acme'), tests.ann(), 'two', 'fact');
select api.create_memory(tests.tenant('acme'), tests.ann(), 'three', 'goal');
select api.create_memory(tests.tenant('acme'), tests.ben(), 'four', 'fact');
select api.create_memory(tests.tenant('globex'), tests.ann(), 'five', 'fact');
select is(tests.total(api.list_memories(tests.tenant('acme'), tests.ann())), 3, 'what was created is counted');
select is(
    tests.total(api.list_memories(tests.tenant('acme'), tests.ann(), memory_type => 'fact')),
    2,
    'what was created is counted by its group'
);
select is(
    tests.total(api.list_memories(tests.tenant('acme'), tests.ben())), 1, 'another user''s rows are counted apart'
);
select is(
    tests.total(api.list_memories(tests.tenant('globex'), tests.ann())), 1, 'another tenant''s rows are counted apart'
);
select api.update_memory(
    tests.tenant('acme'), tests.ann(), current_setting('tests.memory')::uuid, memory_type => 'goal', content => 'uno'
);
select is(
    tests.total(api.list_memories(tests.tenant('acme'), tests.ann(), memory_type => 'goal')),
    2,
    'what changes its group is counted in the new one'
);
select api.delete_memory(tests.tenant('acme'), tests.ann(), current_setting('tests.memory')::uuid);
select is(tests.total(api.list_memories(tests.tenant('acme'), tests.ann())), 2, 'what was deleted is not counted');

select set_config(
    'tests.conversation', tests.id(api.create_conversation(tests.tenant('acme'), tests.ann(), 'talk'))::text, true
);
select api.create_messages(
    tests.tenant('acme'),
    tests.ann(),
    current_setting('tests.conversation')::uuid,
    '[{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]'
);
select is(
    tests.total(api.list_messages(tests.tenant('acme'), tests.ann(), current_setting('tests.conversation')::uuid)),
    3,
    'messages that came together are counted together'
);
select is(
    tests.total(
        api.list_messages(
            tests.tenant('acme'), tests.ann(), current_setting('tests.conversation')::uuid, role => 'user'
        )
    ),
    2,
    'what is narrowed by more than the group is counted when it is asked for'
);
reset role;
select is_empty('select tests.wrong_totals()', 'all totals are what there is');
set local role cardbase_service;
select api.delete_conversation(tests.tenant('acme'), tests.ann(), current_setting('tests.conversation')::uuid);
reset role;
select is_empty('select tests.wrong_totals()', 'the messages of a deleted conversation are not counted');

-- Past the functions
insert into app.tasks (tenant_id, user_id, title, status, deleted_at)
values
(tests.tenant('acme'), tests.ann(), 'a', 'pending', null),
(tests.tenant('globex'), tests.ben(), 'b', 'completed', null),
(tests.tenant('globex'), tests.ben(), 'c', 'completed', now());
select is_empty('select tests.wrong_totals()', 'one statement may write rows of several users');
update app.tasks set deleted_at = case when deleted_at is null then now() end;
select is_empty('select tests.wrong_totals()', 'what is no longer deleted is counted again');
delete from app.memories where tenant_id = tests.tenant('acme');
select is_empty('select tests.wrong_totals()', 'rows that are removed are not counted');
select is_empty(
    $$
    select
        tenant_id,
        user_id,
        table_name,
        group_name
    from app.resource_totals
    group by tenant_id, user_id, table_name, group_name
    having count(*) > 1
    $$,
    'what comes one after the other is counted in one row'
);

select * from finish();
rollback;
