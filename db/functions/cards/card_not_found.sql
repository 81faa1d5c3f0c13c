-- Refuses a call for a card that the tenant does not have, in the same words whether it never existed, was deleted, or
-- belongs to another tenant.
-- Errors: PT404 card_not_found, always.
create or replace function app.card_not_found(card_id uuid)
returns void
language plpgsql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
    raise exception using
        errcode = 'PT404',
        message = 'card not found',
        detail = format('The tenant has no active card %s.', card_not_found.card_id),
        hint = 'api.list_cards lists the cards there are.',
        column = 'card_id',
        constraint = 'card_not_found';
end;
$$;

comment on function app.card_not_found(uuid) is
$$Refuses a call for a card that the tenant does not have.

PT404: always.$$;
revoke all on function app.card_not_found(uuid) from public;
grant execute on function app.card_not_found(uuid) to cardbase_api;
