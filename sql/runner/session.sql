-- What every session of the runner begins with. The role and the database may have limits that are meant for short queries, and a
-- step takes what it takes; only locks are never waited for long, because everybody else would wait behind us.
set statement_timeout = 0;
set idle_in_transaction_session_timeout = 0;
set lock_timeout = '500ms';
set default_transaction_isolation = 'read committed';
set client_min_messages = warning;
