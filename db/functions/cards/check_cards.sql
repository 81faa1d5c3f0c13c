-- Refuses a batch of cards that can't be stored, before anything is written.
--   cards   what the caller sent as cards
-- Errors: PT422 validation_error, the column naming the first place that is wrong, such as cards[3].card_type.
create or replace function app.check_cards(cards jsonb)
returns void
language plpgsql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
    _field text;
    _message text;
begin
    if jsonb_typeof(check_cards.cards) is distinct from 'array' then
        _field := 'cards';
        _message := 'Expected an array of cards.';
    elsif jsonb_array_length(check_cards.cards) not between 1 and 1000 then
        _field := 'cards';
        _message := format('Expected 1 to 1,000 cards, got %s.', jsonb_array_length(check_cards.cards));
    else
        select
            format('cards[%s]%s', entry.position - 1, fault.field),
            fault.message
        into _field, _message
        from jsonb_array_elements(check_cards.cards) with ordinality as entry (card, position)
        cross join lateral (
            values
            ('', 'Expected an object.', jsonb_typeof(entry.card) = 'object'),
            (
                '.card_type',
                format('Expected one of %s.', array_to_string(app.card_types(), ', ')),
                entry.card ->> 'card_type' = any(app.card_types())
            ),
            ('.content', 'Expected an object.', jsonb_typeof(entry.card -> 'content') = 'object'),
            (
                '.created_by',
                'Expected a string of at most 255 characters.',
                coalesce(entry.card -> 'created_by', 'null') = 'null'
                or (jsonb_typeof(entry.card -> 'created_by') = 'string' and length(entry.card ->> 'created_by') <= 255)
            ),
            (
                '.source_session_id',
                'Expected a UUID.',
                coalesce(entry.card -> 'source_session_id', 'null') = 'null'
                or (
                    jsonb_typeof(entry.card -> 'source_session_id') = 'string'
                    and entry.card ->> 'source_session_id' ~* '^[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}$'
                )
            )
        ) as fault (field, message, is_right)
        where fault.is_right is not true
        order by entry.position, fault.field
        limit 1;
    end if;

    if _message is not null then
        raise exception using
            errcode = 'PT422',
            message = 'the cards are not valid',
            detail = _message,
            hint = 'Send {"card_type": …, "content": {…}} for each card. Nothing was stored.',
            column = _field,
            constraint = 'validation_error';
    end if;
end;
$$;

comment on function app.check_cards(jsonb) is
$$Refuses a batch of cards that can't be stored.

PT422: the first place that is wrong, named by the error's column.$$;
revoke all on function app.check_cards(jsonb) from public;
grant execute on function app.check_cards(jsonb) to cardbase_api;
