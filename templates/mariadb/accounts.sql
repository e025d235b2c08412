-- Idempotent; passwords become those of the secrets file. Nothing is ever dropped.
{% for db in databases -%}
CREATE DATABASE IF NOT EXISTS `{{ db.name }}` CHARACTER SET utf8mb3 COLLATE utf8mb3_general_ci;
CREATE USER IF NOT EXISTS `{{ db.user }}`@`%`;
ALTER USER `{{ db.user }}`@`%` IDENTIFIED BY '{{ secret(name=db.password) }}';
GRANT ALL PRIVILEGES ON `{{ db.name }}`.* TO `{{ db.user }}`@`%`;
{% endfor -%}
