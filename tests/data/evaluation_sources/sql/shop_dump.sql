-- MySQL dump 10.13  Distrib 8.0.36, for Linux (x86_64)
--
-- Host: localhost    Database: shop
-- ------------------------------------------------------
-- Server version	8.0.36

/*!40101 SET @OLD_CHARACTER_SET_CLIENT=@@CHARACTER_SET_CLIENT */;
/*!50503 SET NAMES utf8mb4 */;
/*!40103 SET @OLD_TIME_ZONE=@@TIME_ZONE */;
/*!40103 SET TIME_ZONE='+00:00' */;
/*!40014 SET @OLD_FOREIGN_KEY_CHECKS=@@FOREIGN_KEY_CHECKS, FOREIGN_KEY_CHECKS=0 */;
/*!40101 SET @OLD_SQL_MODE=@@SQL_MODE, SQL_MODE='NO_AUTO_VALUE_ON_ZERO' */;

--
-- Table structure for table `articles`
--

DROP TABLE IF EXISTS `articles`;
CREATE TABLE `articles` (
  `id` int unsigned NOT NULL AUTO_INCREMENT,
  `sku` varchar(32) COLLATE utf8mb4_unicode_ci NOT NULL,
  `name` varchar(255) COLLATE utf8mb4_unicode_ci NOT NULL,
  `weight_g` mediumint unsigned DEFAULT NULL,
  `price` decimal(10,2) NOT NULL DEFAULT '0.00',
  `active` tinyint(1) NOT NULL DEFAULT '1',
  `created_at` datetime NOT NULL DEFAULT CURRENT_TIMESTAMP,
  `updated_at` datetime DEFAULT NULL ON UPDATE CURRENT_TIMESTAMP,
  PRIMARY KEY (`id`),
  UNIQUE KEY `uq_articles_sku` (`sku`),
  KEY `ix_articles_active_name` (`active`,`name`(40)),
  FULLTEXT KEY `ft_articles_name` (`name`)
) ENGINE=InnoDB AUTO_INCREMENT=18 DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;

--
-- Dumping data for table `articles`
--

LOCK TABLES `articles` WRITE;
/*!40000 ALTER TABLE `articles` DISABLE KEYS */;
INSERT INTO `articles` VALUES (1,'tea-assam-250','Assam, kräftig, 250 g',262,8.90,1,'2021-03-02 09:14:11',NULL),(2,'tea-darj-100','Darjeeling First Flush, 100 g',110,12.50,1,'2021-03-02 09:14:11','2022-04-19 07:55:30'),(3,'tea-rooi-250','Rooibos Vanille, 250 g',262,6.40,1,'2021-03-02 09:14:12',NULL),(4,'pot-iron-08','Gusseiserne Kanne, 0,8 l',1480,54.00,1,'2021-03-02 09:20:45','2023-01-08 16:02:13'),(5,'cup-jap-2','Teebecher, 2 Stück, \'Seigaiha\'',390,19.95,1,'2021-05-17 12:00:01',NULL),(6,'strain-ss','Teesieb, Edelstahl',48,7.50,0,'2021-05-17 12:00:01','2023-06-30 22:10:54'),(7,'tin-500','Vorratsdose, 500 g',210,9.80,1,'2021-05-17 12:00:02',NULL),(8,'tea-gyok-50','Gyokuro, 50 g',58,21.00,1,'2022-02-11 08:31:40',NULL),(9,'tea-mint-80','Nana-Minze, lose, 80 g',91,4.20,1,'2022-02-11 08:31:40',NULL),(10,'honey-lind','Lindenhonig, 500 g',840,7.95,1,'2022-08-05 14:47:09',NULL),(11,'bag-nat-100','Filterbeutel, naturbraun, 100 St.',95,3.60,1,'2022-08-05 14:47:09','2023-03-14 10:20:00'),(17,'gift-s','Geschenkset \"Klein\"',720,29.00,1,'2023-11-20 18:05:33',NULL);
/*!40000 ALTER TABLE `articles` ENABLE KEYS */;
UNLOCK TABLES;

--
-- Table structure for table `stock`
--

DROP TABLE IF EXISTS `stock`;
CREATE TABLE `stock` (
  `article_id` int unsigned NOT NULL,
  `warehouse` enum('nord','sued') NOT NULL,
  `quantity` int NOT NULL,
  PRIMARY KEY (`article_id`,`warehouse`),
  CONSTRAINT `fk_stock_article` FOREIGN KEY (`article_id`) REFERENCES `articles` (`id`) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

LOCK TABLES `stock` WRITE;
INSERT INTO `stock` VALUES (1,'nord',120),(1,'sued',64),(2,'nord',18),(3,'nord',240),(3,'sued',75),(4,'nord',9),(5,'sued',33),(7,'nord',410),(8,'nord',0),(9,'sued',52),(10,'nord',27);
UNLOCK TABLES;

/*!40103 SET TIME_ZONE=@OLD_TIME_ZONE */;
/*!40101 SET SQL_MODE=@OLD_SQL_MODE */;
/*!40014 SET FOREIGN_KEY_CHECKS=@OLD_FOREIGN_KEY_CHECKS */;

-- Dump completed on 2024-02-29  3:00:07
