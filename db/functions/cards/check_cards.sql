-- Refuses a batch of cards that can't be stored, before anything is written.
--   cards   what the caller sent as cards, passed by app.check_json
-- Errors: PT422 validation_error, the column naming the first place that is wrong, such as cards[3].card_type.
-- PT413 payload_too_large, a content is longer than app.check_json lets it be.
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
            case fault.field
                when '.card_type' then format('Expected one of %s.', array_to_string(app.card_types(), ', '))
                when '.created_by' then 'Expected a string of at most 255 characters.'
                when '.source_session_id' then 'Expected a UUID.'
                else 'Expected an object.'
            end
        into _field, _message
        from jsonb_array_elements(check_cards.cards) with ordinality as entry (card, position)
        cross join lateral (
            select
                case
                    when jsonb_typeof(entry.card) <> 'object' then ''
                    when (entry.card ->> 'card_type' = any(app.card_types())) is not true then '.card_type'
                    when jsonb_typeof(entry.card -> 'content') is distinct from 'object' then '.content'
                    when
                        coalesce(jsonb_typeof(entry.card -> 'created_by'), 'null') not in ('null', 'string')
                        or length(entry.card ->> 'created_by') > 255
                        then '.created_by'
                    when
                        coalesce(jsonb_typeof(entry.card -> 'source_session_id'), 'null') not in ('null', 'string')
                        or entry.card ->> 'source_session_id' !~* '^[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}$'
                        then '.source_session_id'
                end as field
        ) as fault
        where fault.field is not null
        order by entry.position
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

    -- A smaller one can't be too long: see app.check_json.
    perform app.check_json(format('cards[%s].content', entry.position - 1), entry.card -> 'content')
    from jsonb_array_elements(check_cards.cards) with ordinality as entry (card, position)
    where pg_column_size(entry.card) > 95000;
end;
$$;

comment on function app.check_cards(jsonb) is
$$Refuses a batch of cards that can't be stored.

PT422: the first place that is wrong, named by the error's column. PT413: a content is too long.$$;
revoke all on function app.check_cards(jsonb) from public;
grant execute on function app.check_cards(jsonb) to cardbase_api;
