/* Three rules of cleaning (protocol.md, sections 8 to 10), each in a model of
   one key so small that it says little more than the rule.

   put(k) lies in segment 0, delete(k) in segment 1; both become dead, and one
   replica is away for a while. A pool is read again from what looks valid in
   it: `valid` says which segments do. The session of put(k) may retry until it
   ends.

   Each #ifdef is a rule broken on purpose. */
bit freed[2];     /* decided, replicated */
bit valid[2] = 1; /* what a reading of a pool at home would find */
bit away, away_valid[2] = 1;
bit session_over, executed_again, outcome_kept;

active proctype World() {
  do
  :: atomic { /* the put is dead: an outcome record goes before the segment */
       !freed[0] -> freed[0] = 1;
#ifndef OUTCOME_LOST
       outcome_kept = 1
#endif
     }
  :: atomic { freed[0] && valid[0] -> valid[0] = 0 }
  :: atomic {
       freed[0] && !freed[1] &&
#ifndef TOMBSTONE_TOO_EARLY
       !valid[0] &&
#endif
       true ->
       freed[1] = 1
     }
  :: atomic { freed[1] && valid[1] -> valid[1] = 0 }
  :: atomic { !away -> away = 1 }
  :: atomic { /* it comes back as a learner, with its predecessor's list */
       away ->
       away = 0;
#ifndef CLEANED_SEGMENTS_KEPT
       away_valid[0] = away_valid[0] && valid[0];
#endif
       away_valid[1] = away_valid[1] && valid[1];
       assert(!(away_valid[0] && !away_valid[1]))
     }
  :: atomic { !session_over -> session_over = 1 }
  :: atomic { /* the retry of the put */
       !session_over && !valid[0] && !outcome_kept -> executed_again = 1
     }
  :: atomic { executed_again -> assert(false) }
  :: atomic { valid[0] && !valid[1] -> assert(false) } /* k is back */
  od
}
