# The package for programs outside this tree: the SDK's header, whale::client
# and the static libraries that it consists of.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

# Adds `target` and the libraries of this project that it links to `result`.
function(whale_link_closure target result)
  set(closure ${${result}} ${target})
  get_target_property(dependencies ${target} LINK_LIBRARIES)
  foreach(dependency IN LISTS dependencies)
    if(TARGET ${dependency} AND dependency MATCHES "^whale_" AND NOT dependency IN_LIST closure)
      whale_link_closure(${dependency} closure)
    endif()
  endforeach()
  set(${result} ${closure} PARENT_SCOPE)
endfunction()

set(libraries)
whale_link_closure(whale_client libraries)

# What the package has to look up with pkg-config for them: PREFIX=module.
set(whale_pkgconfig_packages)
foreach(library IN LISTS libraries)
  get_target_property(dependencies ${library} LINK_LIBRARIES)
  foreach(dependency IN LISTS dependencies)
    if(dependency MATCHES "^PkgConfig::(.+)$")
      list(APPEND whale_pkgconfig_packages "${CMAKE_MATCH_1}=$CACHE{${CMAKE_MATCH_1}_MODULE_NAME}")
    endif()
  endforeach()
endforeach()
list(REMOVE_DUPLICATES whale_pkgconfig_packages)

set_target_properties(whale_client PROPERTIES EXPORT_NAME client)
install(TARGETS ${libraries} EXPORT whaleTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY include/whale DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/whale)
install(EXPORT whaleTargets NAMESPACE whale:: DESTINATION ${package_dir})
configure_package_config_file(whaleConfig.cmake.in ${CMAKE_CURRENT_BINARY_DIR}/whaleConfig.cmake
  INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/whaleConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/whaleConfig.cmake
  ${CMAKE_CURRENT_BINARY_DIR}/whaleConfigVersion.cmake DESTINATION ${package_dir})
