-- Refuses a job of an unknown kind, or with arguments that its kind doesn't take.
--   kind, arguments   what the caller sent
-- Errors: PT422 validation_error, the column naming what is wrong, such as arguments.memory_id.
create or replace function app.check_job_arguments(kind text, arguments jsonb)
returns void
language plpgsql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
    _kinds constant jsonb := app.job_kinds();
    _field text;
    _message text;
begin
    perform app.check_choice(
        'kind', check_job_arguments.kind, array(select known.name from jsonb_object_keys(_kinds) as known (name) order by known.name)
    );
    perform app.check_object('arguments', check_job_arguments.arguments);

    select
        'arguments.' || coalesce(given.name, wanted.name),
        case
            when wanted.name is null then format('A job of the kind %s has no such argument.', check_job_arguments.kind)
            when given.name is null then 'This field is required.'
            when rtrim(wanted.type, '?') = 'uuid' then 'Expected a UUID.'
            when jsonb_typeof(given.value) = rtrim(wanted.type, '?') then format('Expected 0 to 5, got %s.', given.value)
            else format('Expected the JSON type %s.', rtrim(wanted.type, '?'))
        end
    into _field, _message
    from jsonb_each(check_job_arguments.arguments) as given (name, value)
    full join jsonb_each_text(_kinds -> check_job_arguments.kind) as wanted (name, type) on given.name = wanted.name
    where
        case
            when given.name is null then wanted.type like '%?'
            when wanted.type like 'any%' then true
            when wanted.type like 'uuid%'
                then jsonb_typeof(given.value) = 'string'
                    and given.value #>> '{}' ~* '^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$'
            -- A job of the kind test does nothing, and must not hold its worker up for long.
            when wanted.name = 'seconds'
                then jsonb_typeof(given.value) = 'number' and given.value between '0' and '5'
            else jsonb_typeof(given.value) = rtrim(wanted.type, '?')
        end is not true
    order by 1
    limit 1;

    if found then
        raise exception using
            errcode = 'PT422',
            message = 'the arguments are not valid',
            detail = _message,
            hint = 'Nothing was enqueued.',
            column = _field,
            constraint = 'validation_error';
    end if;

    -- Bounded, as they are read and written with each attempt.
    if octet_length(check_job_arguments.arguments::text) > 65536 then
        raise exception using
            errcode = 'PT422',
            message = 'the arguments are too long',
            detail = format(
                'Expected at most 65,536 bytes, got %s.', octet_length(check_job_arguments.arguments::text)
            ),
            hint = 'Store long data elsewhere, and refer to it in the arguments. Nothing was enqueued.',
            column = 'arguments',
            constraint = 'validation_error';
    end if;
end;
$$;

comment on function app.check_job_arguments(text, jsonb) is
$$Refuses a job of an unknown kind, or with arguments that its kind doesn't take.

PT422: the error's column names what is wrong.$$;
revoke all on function app.check_job_arguments(text, jsonb) from public;
grant execute on function app.check_job_arguments(text, jsonb) to cardbase_api;
