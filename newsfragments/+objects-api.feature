The admin interface shows the objects that run in the published shape, at ``/api/config/namespaces/NAMESPACE/KINDs`` and
``…/KINDs/NAME``; what is fetched there loads again.
