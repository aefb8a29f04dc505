-- step: batches
select leadrouter.backfill_leads(2000)
