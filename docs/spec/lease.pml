/* Leases (protocol.md, sections 6 and 8) in discrete time.

   A replica is left out by a change. Whatever happens to its requests for a
   lease and to the coordinator, it serves nothing once the change has been
   activated. A second coordinator may take over; the first does not notice.
   LEASE is the shorter of what both sides count, so drift is in it.

   Each #ifdef is a rule broken on purpose. */
#ifndef LEASE
#define LEASE 2
#endif
#ifndef END
#define END 9
#endif

byte now;
/* One request and one reply under way; both may be late or lost. */
bit requested, replied;
byte request_sent, reply_to, request_for;
byte lease_end; /* as the replica counts */
/* What each coordinator has granted, and whether it is leader. */
byte granted_to[3];
bit second;
byte second_since, term_end;
bit left_out[3], activated;
byte clock_read; /* by the replica's loop, some time ago */
bit clock_known;

#ifdef TWO_LEADERS
#define MAY_GRANT(c) ((c) == 1 || second)
#define MAY_TAKE_OVER true
#else
#define MAY_GRANT(c) (((c) == 1 && now < term_end) || ((c) == 2 && second))
#define MAY_TAKE_OVER (now >= term_end)
#endif
#ifdef NEXT_LEADER_DOES_NOT_WAIT
#define OLD_LEASES_OVER true
#else
#define OLD_LEASES_OVER (now >= second_since + LEASE)
#endif

inline grant() {
  granted_to[request_for] = now + LEASE;
  replied = 1;
  reply_to = request_sent;
  requested = 0;
  request_sent = 0;
  request_for = 0
}

active proctype World() {
  term_end = LEASE;
  do
  :: atomic { now < END -> now++ }
  :: atomic {
       !requested -> requested = 1;
       request_sent = now;
       if
       :: request_for = 1
       :: second -> request_for = 2
       fi
     }
  :: atomic { requested -> requested = 0; request_sent = 0; request_for = 0 }
  :: atomic { replied -> replied = 0; reply_to = 0 }
  :: atomic { /* the first leader renews its term at the store */
       !second && now < term_end -> term_end = now + LEASE
     }
  :: atomic {
       requested && !replied && MAY_GRANT(request_for) &&
       !left_out[request_for] ->
       grant()
     }
  :: atomic { /* the next leader reads the configuration that is stored */
       !second && MAY_TAKE_OVER ->
       second = 1;
       second_since = now;
       left_out[2] = left_out[1]
     }
  :: atomic {
       replied -> replied = 0;
#ifdef LEASE_FROM_ARRIVAL
       reply_to = now;
#endif
       lease_end = (reply_to + LEASE > lease_end -> reply_to + LEASE : lease_end);
       reply_to = 0
     }
  :: atomic { !second && !left_out[1] -> left_out[1] = 1 }
  :: atomic { second && !left_out[2] -> left_out[2] = 1 }
  :: atomic {
       !second && left_out[1] && now >= granted_to[1] -> activated = 1
     }
  :: atomic {
       second && left_out[2] && now >= granted_to[2] && OLD_LEASES_OVER ->
       activated = 1
     }
#ifdef LEASE_CHECKED_BEFORE
  /* The clock is read once, for later; the check uses what was read. */
  :: atomic { clock_read = now; clock_known = 1 }
  :: atomic { activated && clock_known && clock_read < lease_end -> assert(false) }
#else
  :: atomic { activated && now < lease_end -> assert(false) }
#endif
  od
}
