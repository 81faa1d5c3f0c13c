-- The access path of app.purge_card_usage, and of finding out how far behind it is. New events come at its right end,
-- where an insert is cheap.
create index card_usage_used_at on app.card_usage (used_at);
