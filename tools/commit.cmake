# Writes OUT with the commit of SOURCE, and touches it only when it changed.
# Run at build time: cmake -DSOURCE=... -DOUT=... -DVERSION=... -P commit.cmake
execute_process(COMMAND git -C ${SOURCE} describe --always --dirty --abbrev=12 --exclude=*
                OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
if(failed OR commit STREQUAL "")
  set(commit unknown)
endif()
file(CONFIGURE OUTPUT ${OUT} CONTENT "#define WHALE_VERSION \"${VERSION}\"\n#define WHALE_COMMIT \"${commit}\"\n")
