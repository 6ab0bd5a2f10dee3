// Swagger UI over the router's own document; no validator of another host.
const place = document.getElementById("docs");
window.SwaggerUIBundle({ domNode: place, url: place.dataset.document, deepLinking: true, validatorUrl: null });
