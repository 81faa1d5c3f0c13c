-- Refuses what is not a position in a tenant's events: <timeline>-<transaction>-<event>, as api.read_events names them.
--   field   the field's name, as the caller knows it
--   given   what the caller sent; null is accepted
-- Errors: PT422 validation_error.
create or replace function app.check_event_position(field text, given text)
returns void
language plpgsql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
    -- No more digits than surely fit the numbers' types.
    if check_event_position.given !~ '^\d{1,10}-\d{1,19}-\d{1,18}$' then
        raise exception using
            errcode = 'PT422',
            message = format('%s is not valid', check_event_position.field),
            detail = 'Expected the id of an event.',
            hint = 'Leave it out to begin with what happens from now on.',
            column = check_event_position.field,
            constraint = 'validation_error';
    end if;
end;
$$;

comment on function app.check_event_position(text, text) is
$$Refuses what is not a position in a tenant's events.

PT422: the value is not one.$$;
revoke all on function app.check_event_position(text, text) from public;
grant execute on function app.check_event_position(text, text) to cardbase_api;
