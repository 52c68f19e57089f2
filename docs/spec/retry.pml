/* An answer without effect leaves no record (protocol.md, section 9).

   A compare-and-put is answered "compare failed" by the old primary. The
   answer is late; the client has retried at the new one, where the compare may
   succeed. Once the client was told that nothing happened, nothing happens.

   OLD_EPOCH_ANSWERS breaks the rule that a client that has retried in a later
   epoch ignores answers from earlier ones. */
bit matches, changed, asked_old, asked_new, failed_answer, retried;
bit told_failed, effect, overwritten;

active proctype World() {
  do
  :: atomic {
       !asked_old && !changed -> asked_old = 1;
       if
       :: matches -> effect = 1
       :: else -> failed_answer = 1
       fi
     }
  :: atomic { !changed -> changed = 1 }
  :: atomic { !overwritten -> overwritten = 1; matches = 1 }
  :: atomic { changed && !retried && !told_failed -> retried = 1 }
  :: atomic {
       failed_answer -> failed_answer = 0;
#ifndef OLD_EPOCH_ANSWERS
       if
       :: retried
       :: else -> told_failed = 1
       fi
#else
       told_failed = 1
#endif
     }
  :: atomic {
       retried && !asked_new -> asked_new = 1;
       if
       :: matches && !effect -> effect = 1
       :: else
       fi
     }
  :: atomic { told_failed && effect -> assert(false) }
  od
}
